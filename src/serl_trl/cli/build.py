"""From checked options to a trainer: tokenizer, seed and probe set, functions, then the model."""

import json
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import compress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from serl_trl import sandbox
from serl_trl.answers.equality import AnswerKind, find_kind
from serl_trl.answers.golds import read_gold
from serl_trl.cli.checks import LATEST, LATEST_OR_FRESH, SANDBOX, is_local_path, model_location
from serl_trl.cli.parser import Arguments, RunArguments, SeRLConfigError, SeRLParser
from serl_trl.cli.trl_rewards import trl_rewards
from serl_trl.common.files import PRIVATE_FOLDER
from serl_trl.common.folder import Folder
from serl_trl.common.plugin import shown
from serl_trl.common.quiet import own_lines_only
from serl_trl.common.text import count_of, examples, one_line, visible
from serl_trl.common.tokens import count_tokens, special_tokens_of
from serl_trl.data.seeds import (
    SeedSet,
    check_seed_set,
    find_oracle,
    gold_problem,
    load_seed_set,
    make_seed_set,
    read_golds,
)
from serl_trl.data.tables import HubUnreachableError, SeedSetError
from serl_trl.labels.trl_reward import find_reward
from serl_trl.measure.benchmarks import BENCHMARKS, load_benchmark
from serl_trl.plan.shapes import SHAPES
from serl_trl.propose.chat_template import LIMIT_S, render_chats
from serl_trl.propose.prompts import Messages, proposer_messages, rollout_messages
from serl_trl.runs.output_folder import may_be_renamed
from serl_trl.train.checkpoint import CheckpointError, hold, is_finished
from serl_trl.train.model_files import (
    ELSEWHERE,
    ModelFileError,
    check_headers,
    check_model,
    find_model,
    float16_problem,
    refuse_bad_model,
    tokenizer_problem,
)
from serl_trl.train.options import FILTER_PRESETS
from serl_trl.train.template_roles import (
    COMPLETION_TEMPLATE,
    no_template_problem,
    prepare_template,
    template_warnings,
)

if TYPE_CHECKING:
    from peft import PeftConfig

    from serl_trl.train.trainer import SeRLTrainer


@dataclass(frozen=True)
class LongestTexts:
    """Tokens of the longest seed, of its prompt, and of a request with the longest seeds."""

    seed: int
    prompt: int
    request: int


@dataclass(frozen=True)
class Inputs:
    """Everything a run reads but the weights.

    `longest` is `None` where the tokenizer, its template or the seeds are.
    `context` is the model's longest sequence in tokens. `skipped` names what could not be looked at
    because the Hub was not reachable; tokenizer, context or a set are then `None`. `notes` say what
    of the chat template is worth knowing.
    """

    tokenizer: Any
    context: int | None
    seed_set: SeedSet | None
    probe_set: SeedSet | None
    reward_funcs: tuple[Callable[..., Any], ...]
    evaluation_sets: Mapping[str, tuple[str, ...]]
    skipped: tuple[str, ...] = ()
    longest: LongestTexts | None = None
    notes: tuple[str, ...] = ()

    def count_tokens(self, text: str) -> int:
        """Return the length of a bare text in tokens."""
        return count_tokens(self.tokenizer, text)

    def count_prompt_tokens(self, chats: Sequence[Messages], args: Arguments) -> list[int]:
        """Return the length of each conversation in tokens, as the model sees it.

        Raises `SeRLConfigError` when the chat template cannot be used.
        """
        kwargs = args.config.chat_template_kwargs or {}
        assert not isinstance(kwargs, str), "the config reads JSON"
        texts = render_chats(self.tokenizer, chats, name=model_path(args), **kwargs)
        return [self.count_tokens(text) for text in texts]


def load_inputs(args: Arguments, *, looking: bool = False, to_train: bool = True) -> Inputs:
    """Load and check everything a run reads but the weights, of which it reads the headers.

    With `looking` no code of a plug-in is called; that, and what only the Hub could tell, is passed
    over and named in `skipped`. Without `to_train` the model is only going to write. Raises
    `SeRLConfigError` with all problems.
    """
    problems: list[str] = []
    skipped: list[str] = []

    def attempt(work: Callable[[], Any], what: str) -> Any:
        try:
            return work()
        except (HubUnreachableError, _UnreachableError) as error:
            (skipped if looking else problems).append(f"{what}: {error}")
        except (SeedSetError, ModelFileError, SeRLConfigError) as error:
            problems.append(str(error))
        return None

    run = args.run
    named = _find_named(args, looking=looking)
    skipped += named.skipped
    tokenizer = attempt(lambda: load_tokenizer(args), "tokenizer")
    context = attempt(lambda: load_context(args), "model configuration")
    rows = (
        attempt(lambda: _check_weights(args, whole=not looking), "weights")
        if context is not None
        else None
    )
    seed_set = attempt(lambda: _load_seeds(args, named.kind), "seed_set")
    probe_set = None
    if run.probe_set:
        probe_set = attempt(lambda: _load_probe(args, named.kind), "probe_set")
    evaluation_sets = {
        name: attempt(lambda name=name: _load_evaluation_set(name, args), "evaluation_sets")
        for name in run.evaluation_sets or ()
    }
    problems += named.problems
    if args.config.push_to_hub:
        problems += _check_login()
    notes: list[str] = []
    if tokenizer is not None and tokenizer.chat_template:
        notes = attempt(lambda: _prepare_template(tokenizer, args, looking=looking), "template")
    inputs = Inputs(
        tokenizer,
        context,
        seed_set,
        probe_set,
        named.reward_funcs,
        {name: read for name, read in evaluation_sets.items() if read is not None},
        tuple(skipped),
        notes=tuple(notes or ()),
    )
    if rows is not None and tokenizer is not None:
        problems += filter(None, [tokenizer_problem(tokenizer, rows)])
    if context is not None:
        problems += _check_loading(args, to_train=to_train)
    problems += _check_tokenizer(inputs, args) + _check_seeds(inputs, args)
    longest = None
    try:
        longest = _measure_longest(inputs, args) if notes is not None else None
    except SeRLConfigError as error:
        problems += error.problems
    if problems:
        raise SeRLConfigError(list(dict.fromkeys(problems)))
    return replace(inputs, longest=longest)


def _measure_longest(inputs: Inputs, args: Arguments) -> LongestTexts | None:
    """Write the longest prompts as the model's template does, before anything depends on it."""
    seeds, tokenizer = inputs.seed_set, inputs.tokenizer
    if not seeds or tokenizer is None or not tokenizer.chat_template:
        return None
    lengths = {text: inputs.count_tokens(text) for text in seeds.instructions}
    longest = sorted(lengths, key=lambda text: -lengths[text])
    style = args.config.style
    rollout = rollout_messages(longest[0], style)
    request = proposer_messages(longest[: args.config.num_shots], style)
    prompt, asked = inputs.count_prompt_tokens([rollout, request], args)
    return LongestTexts(lengths[longest[0]], prompt, asked)


@dataclass(frozen=True)
class _Named:
    """What a config names by dotted path; `kind` is `None` when it is not made."""

    kind: AnswerKind | None
    reward_funcs: tuple[Callable[..., Any], ...]
    problems: tuple[str, ...]
    skipped: tuple[str, ...]


def _find_named(args: Arguments, *, looking: bool) -> _Named:
    """Find what is named, and make what the inputs need of it unless that calls a plug-in."""
    config, plugins = args.config, args.config.plugins or ()
    # A plug-in may lie in the working directory; last, so that it shadows nothing, and only where
    # there is one, so that no other library finds a file there.
    if plugins and os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())
    problems: list[str] = []

    def attempt(work: Callable[[], Any]) -> Any:
        try:
            return work()
        except ValueError as error:
            problems.append(str(error))
            return None

    found = [
        attempt(lambda path=path: find_reward(path, plugins, known=trl_rewards()))
        for path in args.run.reward_funcs or ()
    ]
    if oracle := config.gold_oracle:
        attempt(lambda: find_oracle(oracle, plugins))
    kind = attempt(lambda: find_kind(config.answer_kind, plugins))
    if config.proposal_filters not in FILTER_PRESETS:
        # Imported late: what reads English takes a tenth of the time of a whole check.
        from serl_trl.filters.gate import find_filters

        attempt(lambda: find_filters(config.proposal_filters, plugins))
    skipped = []
    if kind and kind.foreign and looking:
        kind = None
        if args.run.probe_set:
            skipped.append(
                f"answers of the probe set: only code of answer_kind={shown(config.answer_kind)} "
                "can read them, and a check calls none"
            )
    made = None if kind is None else attempt(kind.make)
    rewards = () if looking else tuple(attempt(each.make) for each in found if each)
    return _Named(made, rewards, tuple(problems), tuple(skipped))


@own_lines_only()
def build_trainer(args: Arguments, inputs: Inputs) -> "SeRLTrainer":
    """Build the trainer, which loads the weights; an adapter goes on as it is, with its own rank.

    It is laid over the base that its configuration names, and merged into nothing.
    """
    from trl import get_peft_config, get_quantization_config

    from serl_trl.train.trainer import SeRLTrainer

    config, model, seed_set = args.config, args.model, inputs.seed_set
    adapter = adapter_config(args)
    assert seed_set is not None, "a run is built only when nothing was skipped"
    init_kwargs = _init_kwargs(args)
    config.model_init_kwargs = {
        "revision": model.model_revision,
        "trust_remote_code": config.trust_remote_code,
        "attn_implementation": model.attn_implementation,
        "dtype": model.dtype,
        **init_kwargs,
    }
    try:
        return SeRLTrainer(
            model=_load_adapter(args, adapter) if adapter else model_path(args),
            args=config,
            seed_set=seed_set,
            eval_dataset=inputs.probe_set.rows() if inputs.probe_set else None,
            processing_class=inputs.tokenizer,
            reward_funcs=list(inputs.reward_funcs) or None,
            peft_config=None if adapter else get_peft_config(model),
            quantization_config=None if adapter else get_quantization_config(model),
            evaluation_sets=inputs.evaluation_sets,
        )
    except ModelFileError as error:
        raise SeRLConfigError([str(error)]) from error
    except (ValueError, ImportError) as error:
        # What TRL and transformers find out by themselves when they build a trainer.
        raise SeRLConfigError([f"{one_line(error)}."]) from error


def _prepare_template(tokenizer: Any, args: Arguments, *, looking: bool) -> list[str]:
    """Make the template show system messages; with `looking`, say what else it does."""
    given = args.config.chat_template_kwargs or {}
    assert not isinstance(given, str), "the config reads JSON"
    kwargs: dict[str, Any] = given
    slow: list[SeRLConfigError] = []

    def render(messages: Messages) -> str:
        if slow:
            # One that does not end for one conversation is not waited for again.
            raise slow[0]
        started = time.monotonic()
        try:
            return render_chats(tokenizer, [messages], name=model_path(args), **kwargs)[0]
        except SeRLConfigError as error:
            if time.monotonic() - started > LIMIT_S:
                slow.append(error)
            raise

    notes = prepare_template(tokenizer, render)
    if looking:
        notes += template_warnings(tokenizer, render, _eos_token_ids(tokenizer, args), kwargs)
    return notes


def _eos_token_ids(tokenizer: Any, args: Arguments) -> set[int]:
    """Return the tokens that end a completion, as the trainer finds them beside the weights."""
    from transformers import AutoConfig, GenerationConfig

    adapter = adapter_config(args)
    try:
        # Raises where there is none; the model's config holds the tokens then.
        found = _from_pretrained(GenerationConfig, args, adapter).eos_token_id
    except (_NotLoadedError, _UnreachableError):
        found = _from_pretrained(AutoConfig, args, adapter).eos_token_id
    listed = found if isinstance(found, list) else [found]
    return {each for each in [tokenizer.eos_token_id, *listed] if each is not None}


def _check_weights(args: Arguments, *, whole: bool) -> int | None:
    """Check what is on the disk by its headers; return the number of rows of the embedding.

    With `whole` every tensor is compared with the model's class, whose code takes seconds to load.
    """
    from transformers import AutoConfig

    if any(name in _init_kwargs(args) for name in ELSEWHERE):
        return None
    adapter = adapter_config(args)
    base, found = find_model(
        model_path(args), revision=args.model.model_revision, adapter=adapter, local_only=True
    )
    if base is None or (adapter and found is None):
        return None
    config = _from_pretrained(AutoConfig, args, adapter)
    if not whole:
        return check_headers(config, base, found)
    return check_model(config, base, found, adapter)


def _check_loading(args: Arguments, *, to_train: bool) -> list[str]:
    """Return what is wrong with how the weights are to be loaded."""
    from transformers import AutoConfig

    given = _init_kwargs(args)
    problems = []
    if given.get("weights_only") is False:
        problems.append(
            "model_init_kwargs: weights_only=False is refused: a pickled file could run anything; "
            "leave it out, or store the model as safetensors."
        )
    if to_train:
        adapter = adapter_config(args)
        adapts = bool(args.model.use_peft) or adapter is not None
        dtype = given.get("dtype", args.model.dtype)
        if dtype == "auto":
            dtype = _from_pretrained(AutoConfig, args, adapter).dtype
        problems.append(float16_problem(dtype, adapts=adapts))
    return [problem for problem in problems if problem]


def _init_kwargs(args: Arguments) -> dict[str, Any]:
    given = args.config.model_init_kwargs or {}
    assert not isinstance(given, str), "the config reads JSON"
    return given


def _load_adapter(args: Arguments, adapter: "PeftConfig") -> Any:
    """Load the base as TRL loads one, with the adapter over it, and leave nothing to load."""
    from accelerate import PartialState
    from peft import PeftModel
    from trl import get_quantization_config
    from trl.trainer.utils import create_model_from_path

    config = args.config
    options: dict[str, Any] = {**_init_kwargs(args), "revision": adapter.revision}
    refuse_bad_model(model_path(args), config, revision=args.model.model_revision, adapter=adapter)
    config.model_init_kwargs = None
    if quantised := get_quantization_config(args.model):
        options["quantization_config"] = quantised
    if PartialState().distributed_type in ("MULTI_GPU", "DEEPSPEED"):
        options["device_map"] = None
    base = create_model_from_path(str(adapter.base_model_name_or_path), **options)
    return PeftModel.from_pretrained(
        base, model_path(args), revision=args.model.model_revision, is_trainable=True
    )


def trainer_from_config(config: str | Path, **options: Any) -> "SeRLTrainer":
    """Return the trainer that `serl train --config CONFIG` would use, for a notebook or a script.

    `options` are flags of `serl train` and win over the file; "sandbox" as config is the built-in
    one. With `overwrite=True` an earlier run in the same folder is moved aside.

    Raises `SeRLConfigError` with all problems, before the weights are loaded.
    """
    path = sandbox.CONFIG_PATH if config == SANDBOX else config
    argv = ["--config", str(path)]
    for name, value in options.items():
        if value is not None:
            values = value if isinstance(value, list | tuple) else [value]
            argv += [f"--{name}", *map(_as_flag, values)]
    nulls = [name for name, value in options.items() if value is None]
    args = SeRLParser(prog="serl").parse(argv, nulls=nulls)
    inputs = load_inputs(args)
    if args.run.overwrite:
        from serl_trl.train.saving import in_first

        in_first(lambda: set_aside(output_folder(args)))
    return build_trainer(args, inputs)


def _as_flag(value: Any) -> str:
    return str(value) if isinstance(value, str | Path) else json.dumps(value)


def model_path(args: Arguments) -> str:
    """Return the folder or Hub id of the model."""
    name = args.model.model_name_or_path
    assert name is not None, "its absence is a problem that the parser names"
    return model_location(name)


def output_folder(args: Arguments) -> Path:
    """Return the folder of the run."""
    assert args.config.output_dir is not None, "transformers names one when the user does not"
    return Path(args.config.output_dir)


def resume_from(args: Arguments) -> str | bool | None:
    """Return what `SeRLTrainer.train` takes: a checkpoint's folder, `True`, "auto" or `None`."""
    wanted = args.config.resume_from_checkpoint
    return True if wanted == LATEST else wanted


def planned_end(args: Arguments, *, pushed: bool = False) -> dict[str, int]:
    """Return the options that say when a run is over, and whether its model was pushed then."""
    end = {"max_steps": args.config.max_steps, "max_rollouts": args.config.max_rollouts}
    return {**end, "pushed": True} if pushed else end


def is_over(args: Arguments, *, pushed: bool = False) -> bool:
    """Return whether the newest state of the run is wanted, and that is its planned end.

    With `pushed`, its model must also have arrived on the Hub.
    """
    newest = args.config.resume_from_checkpoint in (LATEST, LATEST_OR_FRESH)
    ends = [planned_end(args, pushed=arrived) for arrived in {pushed, True}]
    return newest and any(is_finished(output_folder(args), end) for end in ends)


def set_aside(folder: Path) -> Path | None:
    """Rename `folder` to the first free of folder-1, folder-2, ...; `None` when there is none.

    Raises `CheckpointError` when another process trains in it.
    """
    if not folder.exists():
        return None
    if problem := may_be_renamed(folder):
        raise CheckpointError(problem)
    # Held until it has its new name. What is no folder of a run has nothing to hold.
    _held = hold(folder) if Folder(folder).has_folder(PRIVATE_FOLDER) else None
    number = 1
    while os.path.lexists(target := folder.with_name(f"{folder.name}-{number}")):
        number += 1
    return folder.rename(target)


def adapter_config(args: Arguments) -> "PeftConfig | None":
    """Return the configuration of the adapter that the model is, or `None`: it is none."""
    from transformers.utils.peft_utils import find_adapter_config_file

    path, revision = model_path(args), args.model.model_revision
    if find_adapter_config_file(path, revision=revision) is None:
        return None
    # Imported late: it takes seconds, and most models are no adapter.
    from peft import PeftConfig

    try:
        adapter = PeftConfig.from_pretrained(path, revision=revision)
    except Exception as error:
        raise _NotLoadedError(
            f"model_name_or_path={visible(path)}: its adapter_config.json cannot be read: "
            f"{one_line(error)}."
        ) from error
    if not adapter.base_model_name_or_path:
        raise _NotLoadedError(
            f"model_name_or_path={visible(path)} is an adapter whose adapter_config.json names no "
            "base; set base_model_name_or_path there."
        )
    if adapter.revision is None and Path(path).is_dir():
        # A folder has no revision of its own: the one that is named is its base's.
        adapter.revision = revision
    return adapter


def load_tokenizer(args: Arguments) -> Any:
    """Load the model's tokenizer, set to pad on the left as generation needs it.

    An adapter without a tokenizer of its own has that of its base. With `prompt_style`
    "completion" the template is the plain text.
    """
    from transformers import AutoTokenizer
    from transformers.models.auto.tokenization_auto import get_tokenizer_config

    adapter = adapter_config(args)
    if adapter and get_tokenizer_config(model_path(args), revision=args.model.model_revision):
        adapter = None
    tokenizer = _from_pretrained(
        AutoTokenizer, args, adapter, padding_side="left", truncation_side="left"
    )
    if args.config.prompt_style == "completion":
        tokenizer.chat_template = COMPLETION_TEMPLATE
    return tokenizer


def load_context(args: Arguments) -> int | None:
    """Return the longest sequence the model takes, in tokens, or `None` when it does not say."""
    from transformers import AutoConfig

    try:
        text_config = _from_pretrained(AutoConfig, args, adapter_config(args)).get_text_config()
        limits = [getattr(text_config, "max_position_embeddings", None)]
    except _UnreachableError:
        known = SHAPES.get(model_path(args))
        if known is None:
            raise
        limits = [known.context]
    if args.config.use_vllm:
        limits.append(args.config.vllm_max_model_length)
    return min((limit for limit in limits if limit), default=None)


class _NotLoadedError(SeRLConfigError):
    """Why something that a config names cannot be loaded."""

    def __init__(self, problem: str) -> None:
        super().__init__([problem])


class _UnreachableError(Exception):
    """What only the Hub knows, and it cannot be asked."""


def _from_pretrained(
    loader: Any, args: Arguments, adapter: "PeftConfig | None", **options: Any
) -> Any:
    """Load from the model, or from the base of `adapter` where one is given."""
    path, revision = model_path(args), args.model.model_revision
    subject = f"model_name_or_path={visible(path)}"
    if adapter:
        path, revision = str(adapter.base_model_name_or_path), adapter.revision
        subject += f" is an adapter, and its base {visible(path)}"
    try:
        return loader.from_pretrained(
            path,
            revision=revision,
            trust_remote_code=args.config.trust_remote_code,
            **options,
        )
    except Exception as error:
        # Readers of tokenizers and configs raise nearly anything for a damaged file.
        if not is_local_path(path) and _hub_is_unreachable(error):
            raise _UnreachableError(
                f"{subject} is no folder in {Path.cwd()}, and the Hub "
                "cannot be reached; check the connection, or download the model beforehand."
            ) from error
        what = "its tokenizer" if loader.__name__ == "AutoTokenizer" else "config.json"
        raise _NotLoadedError(f"{subject} cannot be loaded: {what}: {one_line(error)}.") from error


def _hub_is_unreachable(error: BaseException | None) -> bool:
    from huggingface_hub.errors import (
        LocalEntryNotFoundError,
        OfflineModeIsEnabled,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    while error is not None:
        if isinstance(error, RepositoryNotFoundError | RevisionNotFoundError):
            return False
        if isinstance(error, LocalEntryNotFoundError | OfflineModeIsEnabled | ConnectionError):
            return True
        error = error.__cause__ or error.__context__
    return False


def _load_seeds(args: Arguments, kind: AnswerKind | None) -> SeedSet:
    run = args.run
    if run.seed_set == SANDBOX:
        rows = [{"instruction": text} for text in sandbox.seed_set()]
        return make_seed_set(rows, source="sandbox seeds")
    assert run.seed_set is not None, "its absence is a problem that the parser names"
    seed_set = load_seed_set(
        run.seed_set,
        split=run.seed_split,
        config=run.seed_config,
        column=run.instruction_column,
        answer_column=run.answer_column,
        max_bad_rows=run.max_bad_rows,
    )
    return seed_set if kind is None else read_golds(seed_set, kind)


def _load_probe(args: Arguments, kind: AnswerKind | None) -> SeedSet:
    run = args.run
    if run.probe_set == SANDBOX:
        return make_seed_set(sandbox.heldout(), source="sandbox held-out problems")
    assert run.probe_set is not None, "only called when there is one"
    probe_set = load_seed_set(
        run.probe_set,
        split=run.probe_split,
        config=run.probe_config,
        column=run.probe_column,
        answer_column=run.probe_answer_column,
        require_answers=True,
        allow_duplicates=True,
        max_bad_rows=run.max_bad_rows,
    )
    if kind is not None:
        probe_set = _with_golds(probe_set, kind, args)
    return replace(probe_set, warnings=(*probe_set.warnings, *_test_set_warning(run)))


def _with_golds(probe_set: SeedSet, kind: AnswerKind, args: Arguments) -> SeedSet:
    """Put final answers in the place of worked solutions; other texts are the answers as they are.

    Rows whose answer cannot be read are passed over as other bad rows are.
    """
    golds = tuple(read_gold(answer, kind) for answer in probe_set.answers)
    whole = [gold is not None for gold in golds]
    bad = [
        f"{place}: the answer {str(answer)[:80]!r} is none of kind {kind.name}."
        for place, answer, is_read in zip(probe_set.places, probe_set.answers, whole, strict=True)
        if not is_read
    ]
    if len(bad) > args.run.max_bad_rows or not any(whole):
        raise SeedSetError(
            f"{probe_set.source} has {count_of(len(bad), 'answer')} that cannot be read, allowed "
            f"are max_bad_rows={args.run.max_bad_rows}; correct them, or name another "
            f"probe_answer_column:\n{examples(bad)}"
        )
    passed = (f"passed over {each}" for each in bad)
    return replace(
        probe_set,
        instructions=tuple(compress(probe_set.instructions, whole)),
        answers=tuple(compress(golds, whole)),
        places=tuple(compress(probe_set.places, whole)),
        warnings=(*probe_set.warnings, *passed),
    )


def _test_set_warning(run: RunArguments) -> list[str]:
    """Say that the probe set is a test set, so that its figures no longer measure afterwards."""
    split = run.probe_split.partition("[")[0]
    return [
        f"probe_set={run.probe_set} ({run.probe_split}) is the benchmark {each.name}: what is "
        "watched during training is no test afterwards; probe on rows of a train split that are "
        "no seeds."
        for each in BENCHMARKS.values()
        if run.probe_set == each.hub_id and split == each.split
        if run.probe_config in (None, each.config)
    ]


def _load_evaluation_set(name: str, args: Arguments) -> tuple[str, ...]:
    """Read the problems of a benchmark by its name, or of a file or Hub dataset."""
    most = args.run.max_bad_rows
    if name in BENCHMARKS:
        problems = load_benchmark(name, max_bad_rows=most).problems
        return tuple(problem.instruction for problem in problems)
    read = load_seed_set(name, split="test", allow_duplicates=True, max_bad_rows=most)
    return read.instructions


def _check_tokenizer(inputs: Inputs, args: Arguments) -> list[str]:
    tokenizer, context, config = inputs.tokenizer, inputs.context, args.config
    problems = []
    if tokenizer is not None and not tokenizer.chat_template:
        problems.append(no_template_problem(visible(model_path(args))))
    if tokenizer is not None and tokenizer.eos_token is None:
        problems.append(
            f"the tokenizer of {model_path(args)} has no eos_token, so no completion would end; "
            "set one in its tokenizer_config.json."
        )
    if context is not None:
        needed = config.max_instruction_tokens + config.max_completion_length
        if needed >= context:
            problems.append(
                f"max_instruction_tokens={config.max_instruction_tokens} + max_completion_length="
                f"{config.max_completion_length} leave no room in the model's {context} tokens for "
                "the rest of the prompt; lower one of them."
            )
        if config.proposer_max_tokens >= context:
            problems.append(
                f"proposer_max_tokens={config.proposer_max_tokens} leaves no room for a request in "
                f"the model's {context} tokens; lower it."
            )
    return problems


def _check_seeds(inputs: Inputs, args: Arguments) -> list[str]:
    seed_set, config = inputs.seed_set, args.config
    if seed_set is None:
        return []
    known = inputs.tokenizer is not None
    proposes = config.use_selfplay and config.prompt_source == "self_play"
    problems = check_seed_set(
        seed_set,
        num_shots=config.num_shots if proposes else 1,
        max_tokens=config.max_instruction_tokens,
        # Without a tokenizer nothing can be counted, and nothing is.
        count_tokens=inputs.count_tokens if known else lambda _: 0,
        special_tokens=special_tokens_of(inputs.tokenizer) if known else (),
    )
    if not config.use_selfplay and len(seed_set) < config.prompts_per_batch:
        problems.append(
            f"{seed_set.source} has {len(seed_set)} rows, fewer than the "
            f"{config.prompts_per_batch} prompts of one generation batch, so that no step would be "
            "made; add rows or lower per_device_train_batch_size."
        )
    unlabelled = config.label_reward == "gold" and not config.gold_oracle
    if unlabelled and (problem := gold_problem(seed_set, proposes=proposes)):
        problems.append(problem + ("" if proposes else " Name the column by answer_column."))
    return problems


def _check_login() -> Sequence[str]:
    from huggingface_hub import get_token

    if get_token() is None:
        return [
            "push_to_hub=True, but nobody is logged in; run `hf auth login`, set HF_TOKEN, or set "
            "push_to_hub: false."
        ]
    return []
