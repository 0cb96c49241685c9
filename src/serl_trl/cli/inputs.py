"""What a run reads before its weights: tokenizer, seed and probe set, functions; all checked."""

import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from serl_trl import sandbox
from serl_trl.answers.equality import AnswerKind, find_kind
from serl_trl.cli.model import (
    ModelSource,
    UnreachableError,
    check_weights,
    eos_token_ids,
    find_source,
    load_context,
    load_tokenizer,
    loading_problems,
    model_path,
)
from serl_trl.cli.parser import Arguments
from serl_trl.cli.trl_rewards import trl_rewards
from serl_trl.common.errors import SeRLConfigError
from serl_trl.common.plugin import shown
from serl_trl.common.problem import Problem
from serl_trl.common.text import visible
from serl_trl.common.tokens import count_tokens, special_tokens_of
from serl_trl.data.rows import load_rows, naming_seeds, ready, without_twins
from serl_trl.data.seeds import (
    SeedSet,
    check_seed_set,
    find_oracle,
    gold_problem,
    load_seed_set,
    make_seed_set,
    only_read_golds,
    read_golds,
)
from serl_trl.data.tables import HubUnreachableError
from serl_trl.labels.registry import find_labeller, known_needs
from serl_trl.labels.trl_reward import find_reward
from serl_trl.measure.benchmarks import BENCHMARKS, load_benchmark
from serl_trl.propose.chat_template import LIMIT_S, render_chats
from serl_trl.propose.prompts import Messages, proposer_messages, rollout_messages
from serl_trl.propose.sources.base import LABELLED, UNLABELLED
from serl_trl.propose.sources.registry import find_sources, needed_sets, writes_new
from serl_trl.train.model_files import tokenizer_problem
from serl_trl.train.options import FILTER_PRESETS
from serl_trl.train.run_arguments import RunArguments
from serl_trl.train.template_roles import (
    no_template_problem,
    prepare_template,
    template_warnings,
)


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
    because the Hub was not reachable; tokenizer, context or a set are then `None`. `row_sets` has
    the sets of labelled and unlabelled rows by the names of their options. `notes` say what of the
    chat template is worth knowing.
    """

    tokenizer: Any
    context: int | None
    seed_set: SeedSet | None
    probe_set: SeedSet | None
    reward_funcs: tuple[Callable[..., Any], ...]
    evaluation_sets: Mapping[str, tuple[str, ...]]
    # Each is an argument of the trainer.
    row_sets: Mapping[str, Any] = field(default_factory=dict)
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
        kwargs = _template_kwargs(args)
        texts = render_chats(self.tokenizer, chats, name=model_path(args), **kwargs)
        return [self.count_tokens(text) for text in texts]


@dataclass
class _Findings:
    """What is found on the way through all inputs, so that all of it is said at once.

    With `looking` what only the Hub could tell is passed over; otherwise it is a problem.
    """

    looking: bool
    problems: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)

    def attempt(self, work: Callable[[], Any], what: str = "") -> Any:
        """Return what `work` returns, or `None` where it raises what it should."""
        try:
            return work()
        except (HubUnreachableError, UnreachableError) as error:
            (self.skipped if self.looking else self.problems).append(f"{what}: {error}")
        except SeRLConfigError as error:
            self.problems += error.problems
        except ValueError as error:
            self.problems.append(str(error))
        return None


def load_inputs(args: Arguments, *, looking: bool = False, to_train: bool = True) -> Inputs:
    """Load and check everything a run reads but the weights, of which it reads the headers.

    With `looking` no code of a plug-in is called; that, and what only the Hub could tell, is passed
    over and named in `skipped`. Without `to_train` the model is only going to write. Raises
    `SeRLConfigError` with all problems.
    """
    # What is named by path is said after the sets, in the order in which a reader mends a config.
    found, named, run = _Findings(looking), _Findings(looking), args.run
    kind, reward_funcs = _find_named(args, named)
    source = found.attempt(lambda: find_source(args))
    tokenizer, context, notes = (
        _look_at_model(source, args, found, to_train=to_train) if source else (None, None, None)
    )
    inputs = Inputs(
        tokenizer,
        context,
        found.attempt(lambda: _load_seeds(run, kind), "seed_set"),
        found.attempt(lambda: _load_probe(run, kind), "probe_set") if run.probe_set else None,
        reward_funcs,
        _load_evaluation_sets(run, found),
        _load_row_sets(args, kind, found),
        notes=tuple(notes or ()),
    )
    shared = {
        name: naming_seeds(rows, name, inputs.seed_set) for name, rows in inputs.row_sets.items()
    }
    inputs = replace(inputs, row_sets=shared)
    found.problems += named.problems
    if args.config.push_to_hub:
        found.problems += _login_problems()
    # These compare what was read, so they come last.
    found.problems += _tokenizer_problems(inputs, args) + _seed_problems(inputs, args)
    # A template that failed once is not asked again: it may take seconds to fail.
    longest = None if notes is None else found.attempt(lambda: _measure_longest(inputs, args))
    # One cause may show in several places, such as a template that two prompts need.
    if found.problems:
        raise SeRLConfigError(list(dict.fromkeys(found.problems)))
    return replace(inputs, longest=longest, skipped=(*named.skipped, *found.skipped))


# What is named by dotted path.


def _find_named(
    args: Arguments, found: _Findings
) -> tuple[AnswerKind | None, tuple[Callable[..., Any], ...]]:
    """Find what is named; return the answer kind and reward functions, made where that is allowed.

    Making them calls code of a plug-in, which a check does not.
    """
    config, plugins = args.config, args.config.plugins or ()
    # A plug-in may lie in the working directory; last, so that it shadows nothing, and only where
    # there is one, so that no other library finds a file there.
    if plugins and os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())
    rewards = [
        found.attempt(partial(find_reward, path, plugins, known=trl_rewards()))
        for path in args.run.reward_funcs or ()
    ]
    if oracle := config.gold_oracle:
        found.attempt(lambda: find_oracle(oracle, plugins))
    if config.proposal_filters not in FILTER_PRESETS:
        # Imported late: what reads English takes a tenth of the time of a whole check.
        from serl_trl.filters.registry import find_filters

        found.attempt(lambda: find_filters(config.proposal_filters, plugins))
    found.attempt(lambda: find_labeller(config.label_reward, plugins))
    found.attempt(lambda: find_sources(config.sources, plugins))
    kind = found.attempt(lambda: find_kind(config.answer_kind, plugins))
    if kind and kind.foreign and found.looking:
        kind = None
        if args.run.probe_set:
            found.skipped.append(
                f"answers of the probe set: only code of answer_kind={shown(config.answer_kind)} "
                "can read them, and a check calls none"
            )
    # A kind or reward function of a plug-in is a call into its code.
    made = found.attempt(kind.make) if kind else None
    if found.looking:
        return made, ()
    return made, tuple(found.attempt(each.make) for each in rewards if each)


# The model.


def _look_at_model(
    source: ModelSource, args: Arguments, found: _Findings, *, to_train: bool
) -> tuple[Any, int | None, list[str] | None]:
    """Return tokenizer, context and notes about the template; `None` for what cannot be had."""
    style = args.config.prompt_style
    tokenizer = found.attempt(lambda: load_tokenizer(source, prompt_style=style), "tokenizer")
    context = found.attempt(lambda: load_context(source, args), "model configuration")
    if context is not None:
        # A check reads headers alone; comparing with the class loads its code for seconds.
        whole = not found.looking
        rows = found.attempt(lambda: check_weights(source, args, whole=whole), "weights")
        if rows is not None and tokenizer is not None:
            found.problems += filter(None, [tokenizer_problem(tokenizer, rows)])
        found.problems += loading_problems(source, args, to_train=to_train)
    notes: list[str] | None = []
    if tokenizer is not None and tokenizer.chat_template:
        notes = found.attempt(
            lambda: _prepare_template(tokenizer, source, args, looking=found.looking), "template"
        )
    return tokenizer, context, notes


def _prepare_template(
    tokenizer: Any, source: ModelSource, args: Arguments, *, looking: bool
) -> list[str]:
    """Make the template show system messages; with `looking`, say what else it does."""
    kwargs = _template_kwargs(args)
    slow: list[SeRLConfigError] = []

    def render(messages: Messages) -> str:
        if slow:
            # One that does not end for one conversation is not waited for again.
            raise slow[0]
        started = time.monotonic()
        try:
            return render_chats(tokenizer, [messages], name=source.path, **kwargs)[0]
        except SeRLConfigError as error:
            if time.monotonic() - started > LIMIT_S:
                slow.append(error)
            raise

    notes = prepare_template(tokenizer, render)
    if looking:
        notes += template_warnings(tokenizer, render, eos_token_ids(source, tokenizer), kwargs)
    return notes


def _template_kwargs(args: Arguments) -> dict[str, Any]:
    given = args.config.chat_template_kwargs or {}
    assert not isinstance(given, str), "the config reads JSON"
    return given


def _measure_longest(inputs: Inputs, args: Arguments) -> LongestTexts | None:
    """Write the longest prompts as the model's template does, before anything depends on it."""
    seeds, tokenizer = inputs.seed_set, inputs.tokenizer
    if not seeds or tokenizer is None or not tokenizer.chat_template:
        return None
    # By bare length: what a template adds to a seed is the same for all.
    lengths = {text: inputs.count_tokens(text) for text in seeds.instructions}
    longest = sorted(lengths, key=lambda text: -lengths[text])
    style = args.config.style
    rollout = rollout_messages(longest[0], style)
    request = proposer_messages(longest[: args.config.num_shots], style)
    prompt, asked = inputs.count_prompt_tokens([rollout, request], args)
    return LongestTexts(lengths[longest[0]], prompt, asked)


def _tokenizer_problems(inputs: Inputs, args: Arguments) -> list[str]:
    tokenizer, context, config = inputs.tokenizer, inputs.context, args.config
    problems = []
    if tokenizer is not None and not tokenizer.chat_template:
        problems.append(no_template_problem(visible(model_path(args))))
    if tokenizer is not None and tokenizer.eos_token is None:
        problems.append(
            f"the tokenizer of {model_path(args)} has no eos_token, so no completion would end; "
            "set one in its tokenizer_config.json."
        )
    if context is None:
        return problems
    # The template takes some tokens too, so that equality leaves no room.
    if config.max_instruction_tokens + config.max_completion_length >= context:
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


def _login_problems() -> list[str]:
    from huggingface_hub import get_token

    if get_token() is not None:
        return []
    return [
        "push_to_hub=True, but nobody is logged in; run `hf auth login`, set HF_TOKEN, or set "
        "push_to_hub: false."
    ]


# Seeds and problems.


def _load_seeds(run: RunArguments, kind: AnswerKind | None) -> SeedSet:
    if run.seed_set in sandbox.MODEL_PATHS:
        rows = [{"instruction": text} for text in sandbox.seed_set(run.seed_set)]
        return make_seed_set(rows, source=f"{run.seed_set} seeds")
    assert run.seed_set is not None, "its absence is a problem that the parser names"
    seed_set = load_seed_set(
        run.seed_set,
        split=run.seed_split,
        config=run.seed_config,
        column=run.instruction_column,
        answer_column=run.answer_column,
        options=("instruction_column", "answer_column"),
        max_bad_rows=run.max_bad_rows,
    )
    return seed_set if kind is None else read_golds(seed_set, kind)


def _load_row_sets(
    args: Arguments, kind: AnswerKind | None, found: _Findings
) -> dict[str, SeedSet]:
    """Read the rows of labelled and unlabelled sources; not those that no source reads."""
    run, needed = args.run, needed_sets(args.config.sources)

    def load(option: str, sources: list[str]) -> SeedSet:
        rows = load_rows(
            option,
            sources,
            column=run.instruction_column,
            answer_column=run.answer_column,
            max_bad_rows=run.max_bad_rows,
        )
        return rows if kind is None else ready(option, rows, kind, max_bad_rows=run.max_bad_rows)

    given = {LABELLED: run.labelled_set, UNLABELLED: run.unlabelled_set}
    sets = {
        name: found.attempt(partial(load, name, sources), name)
        for name, sources in given.items()
        if sources and (needed is None or name in needed)
    }
    known = {name: rows for name, rows in sets.items() if rows is not None}
    return found.attempt(lambda: without_twins(known)) or {}


def _load_probe(run: RunArguments, kind: AnswerKind | None) -> SeedSet:
    if run.probe_set in sandbox.MODEL_PATHS:
        rows = sandbox.heldout(run.probe_set)
        return make_seed_set(rows, source=f"{run.probe_set} held-out problems")
    assert run.probe_set is not None, "only called when there is one"
    probe_set = load_seed_set(
        run.probe_set,
        split=run.probe_split,
        config=run.probe_config,
        column=run.probe_column,
        answer_column=run.probe_answer_column,
        options=("probe_column", "probe_answer_column"),
        require_answers=True,
        allow_duplicates=True,
        max_bad_rows=run.max_bad_rows,
    )
    if kind is not None:
        probe_set = only_read_golds(probe_set, kind, max_bad_rows=run.max_bad_rows)
    return replace(probe_set, warnings=(*probe_set.warnings, *test_set_warning(run)))


def test_set_warning(run: RunArguments) -> list[str]:
    """Say that the probe set is a test set, so that its figures no longer measure afterwards."""
    # A slice such as test[:50] is a part of the test set all the same.
    split = run.probe_split.partition("[")[0]
    return [
        f"probe_set={run.probe_set} ({run.probe_split}) is the benchmark {each.name}: what is "
        "watched during training is no test afterwards; probe on rows of a train split that are "
        "no seeds."
        for each in BENCHMARKS.values()
        if run.probe_set == each.hub_id and split == each.split
        if run.probe_config in (None, each.config)
    ]


def _load_evaluation_sets(run: RunArguments, found: _Findings) -> dict[str, tuple[str, ...]]:
    """Read the problems of each benchmark by its name, or of a file or Hub dataset."""
    most = run.max_bad_rows

    def load(name: str) -> tuple[str, ...]:
        if name in BENCHMARKS:
            problems = load_benchmark(name, max_bad_rows=most).problems
            return tuple(problem.instruction for problem in problems)
        read = load_seed_set(name, split="test", allow_duplicates=True, max_bad_rows=most)
        return read.instructions

    names = run.evaluation_sets or ()
    read = {name: found.attempt(partial(load, name), "evaluation_sets") for name in names}
    return {name: texts for name, texts in read.items() if texts is not None}


def _seed_problems(inputs: Inputs, args: Arguments) -> list[str]:
    seed_set, config = inputs.seed_set, args.config
    if seed_set is None:
        return []
    known = inputs.tokenizer is not None
    proposes = config.use_selfplay and writes_new(config.sources)
    problems = check_seed_set(
        seed_set,
        num_shots=config.num_shots if proposes else 1,
        max_tokens=config.max_instruction_tokens,
        # Token limits are not checked here when no tokenizer is loaded.
        count_tokens=inputs.count_tokens if known else lambda _: 0,
        special_tokens=special_tokens_of(inputs.tokenizer) if known else (),
    )
    if not config.use_selfplay and len(seed_set) < config.prompts_per_batch:
        rule = (
            f"{seed_set.source} has {len(seed_set)} rows, fewer than the "
            f"{config.prompts_per_batch} prompts of one generation batch, so that no step would be "
            "made"
        )
        way_out = "add rows or lower per_device_train_batch_size"
        problems.append(Problem("", rule=rule, way_out=way_out))
    for rows in inputs.row_sets.values():
        problems += check_seed_set(
            rows,
            num_shots=1,
            max_tokens=config.max_instruction_tokens,
            count_tokens=inputs.count_tokens if known else lambda _: 0,
            special_tokens=special_tokens_of(inputs.tokenizer) if known else (),
        )
    unlabelled = "gold" in known_needs(config.label_reward) and not config.gold_oracle
    if unlabelled and (problem := gold_problem(seed_set, proposes=proposes)):
        problems.append(problem)
    return [str(problem) for problem in problems]
