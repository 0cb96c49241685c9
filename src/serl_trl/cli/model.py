"""What a model says of itself beside its weights: tokenizer, context, adapter, headers."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from serl_trl.cli.parser import Arguments
from serl_trl.cli.run_problems import GGUF_RULE, GGUF_WAY_OUT, is_local_path, model_location
from serl_trl.common.errors import SeRLConfigError
from serl_trl.common.problem import Problem
from serl_trl.common.text import one_line, visible
from serl_trl.plan.shapes import SHAPES
from serl_trl.train.model_files import (
    ELSEWHERE,
    check_headers,
    check_model,
    find_model,
    float16_problem,
)
from serl_trl.train.swaps import replaced
from serl_trl.train.template_roles import COMPLETION_TEMPLATE

if TYPE_CHECKING:
    from peft import PeftConfig


class UnreachableError(Exception):
    """What only the Hub knows, and it cannot be asked."""


@dataclass(frozen=True)
class ModelSource:
    """Where a model is loaded from; with `adapter` the model at `path` lies over another one."""

    path: str
    revision: str | None
    trust_remote_code: bool
    adapter: "PeftConfig | None" = None

    def load(self, loader: Any, *, of_base: bool = True, **options: Any) -> Any:
        """Call `from_pretrained` of `loader`, for an adapter with the path of its base.

        Raises `SeRLConfigError`, or `UnreachableError` when only the Hub could tell.
        """
        path, revision = self.path, self.revision
        subject = f"model_name_or_path={visible(path)}"
        if self.adapter and of_base:
            path, revision = str(self.adapter.base_model_name_or_path), self.adapter.revision
            subject += f" is an adapter, and its base {visible(path)}"
        trust = self.trust_remote_code
        try:
            return loader.from_pretrained(
                path, revision=revision, trust_remote_code=trust, **options
            )
        except Exception as error:
            # Readers of tokenizers and configs raise nearly anything for a damaged file.
            if not is_local_path(path) and _hub_is_unreachable(error):
                raise UnreachableError(
                    f"{subject} is not a folder in {Path.cwd()}, and the Hub "
                    "cannot be reached; check the connection, or download the model beforehand."
                ) from error
            what = "its tokenizer" if loader.__name__ == "AutoTokenizer" else "config.json"
            raise SeRLConfigError(
                [f"{subject} cannot be loaded: {what}: {one_line(error)}."]
            ) from error


def model_path(args: Arguments) -> str:
    """Return the folder or Hub id of the model."""
    name = args.model.model_name_or_path
    assert name is not None, "its absence is a problem that the parser names"
    return model_location(name)


def find_source(args: Arguments) -> ModelSource:
    """Return where the model lies. Raises `SeRLConfigError` for an adapter without a base."""
    path, revision = model_path(args), args.model.model_revision
    adapter = _find_adapter(path, revision)
    return ModelSource(path, revision, bool(args.config.trust_remote_code), adapter)


def _find_adapter(path: str, revision: str | None) -> "PeftConfig | None":
    """Return the adapter's configuration, or `None` where the model is a whole one."""
    from transformers.utils.peft_utils import find_adapter_config_file

    if find_adapter_config_file(path, revision=revision) is None:
        return None
    # Imported late: it takes seconds, and few models are adapters.
    from peft import PeftConfig

    subject = f"model_name_or_path={visible(path)}"
    try:
        # PEFT builds the class that the file names, and raises whatever its values lead to.
        adapter = PeftConfig.from_pretrained(path, revision=revision)
    except Exception as error:
        raise SeRLConfigError(
            [f"{subject}: its adapter_config.json cannot be read: {one_line(error)}."]
        ) from error
    if not adapter.base_model_name_or_path:
        raise SeRLConfigError(
            [
                f"{subject} is an adapter whose adapter_config.json names no base; set "
                "base_model_name_or_path there."
            ]
        )
    if adapter.revision is None and Path(path).is_dir():
        # A folder has no revision of its own: the one that is named is its base's.
        adapter.revision = revision
    return adapter


def init_kwargs(args: Arguments) -> dict[str, Any]:
    """Return what the config says of loading the model."""
    given = args.config.model_init_kwargs or {}
    assert not isinstance(given, str), "the config reads JSON"
    return given


def load_tokenizer(source: ModelSource, *, prompt_style: str) -> Any:
    """Load the model's tokenizer, set to pad on the left as generation needs it.

    An adapter without a tokenizer of its own has that of its base. With `prompt_style`
    "completion" the template is the plain text.
    """
    from transformers import AutoTokenizer
    from transformers.models.auto.tokenization_auto import get_tokenizer_config

    # A run saves the tokenizer beside its adapter, with the template that it was trained with.
    own = source.adapter and get_tokenizer_config(source.path, revision=source.revision)
    sides = {"padding_side": "left", "truncation_side": "left"}
    tokenizer = source.load(AutoTokenizer, of_base=not own, **sides)
    if prompt_style == "completion":
        replaced("tokenizer", tokenizer, chat_template=COMPLETION_TEMPLATE)
    return tokenizer


def load_context(source: ModelSource, args: Arguments) -> int | None:
    """Return the longest sequence the model takes, in tokens, or `None` when it does not say."""
    from transformers import AutoConfig

    try:
        text_config = source.load(AutoConfig).get_text_config()
        limits = [getattr(text_config, "max_position_embeddings", None)]
    except UnreachableError:
        if source.path not in SHAPES:
            raise
        limits = [SHAPES[source.path].context]
    # The engine cuts at its own length, whatever the model could take.
    if args.config.use_vllm:
        limits.append(args.config.vllm_max_model_length)
    return min((limit for limit in limits if limit), default=None)


def eos_token_ids(source: ModelSource, tokenizer: Any) -> set[int]:
    """Return the tokens that end a completion, as the trainer finds them beside the weights."""
    from transformers import AutoConfig, GenerationConfig

    try:
        # Raises where the file is missing; the model's config holds the tokens then.
        found = source.load(GenerationConfig).eos_token_id
    except (SeRLConfigError, UnreachableError):
        found = source.load(AutoConfig).eos_token_id
    listed = found if isinstance(found, list) else [found]
    return {each for each in [tokenizer.eos_token_id, *listed] if each is not None}


def check_weights(source: ModelSource, args: Arguments, *, whole: bool) -> int | None:
    """Check what is on the disk by its headers; return the number of rows of the embedding.

    With `whole` every tensor is compared with the model's class, whose code takes seconds to load.
    """
    from transformers import AutoConfig

    # They make other files be loaded than those that are looked at here.
    if any(name in init_kwargs(args) for name in ELSEWHERE):
        return None
    adapter = source.adapter
    base, found = find_model(
        source.path, revision=source.revision, adapter=adapter, local_only=True
    )
    # On the Hub and not downloaded: there is nothing on the disk to look at.
    if base is None or (adapter and found is None):
        return None
    config = source.load(AutoConfig)
    return (
        check_model(config, base, found, adapter) if whole else check_headers(config, base, found)
    )


def loading_problems(source: ModelSource, args: Arguments, *, to_train: bool) -> list[str]:
    """Return what is wrong with how the weights are to be loaded."""
    from transformers import AutoConfig

    given = init_kwargs(args)
    problems = []
    if file := given.get("gguf_file"):
        # It would be found out when the trained model is to be saved.
        problem = Problem("model_init_kwargs: gguf_file", file, GGUF_RULE, GGUF_WAY_OUT)
        problems.append(str(problem))
    if given.get("weights_only") is False:
        problems.append(
            "model_init_kwargs: weights_only=False is refused: a pickled file could run anything; "
            "leave it out, or store the model as safetensors."
        )
    if to_train:
        dtype = given.get("dtype", args.model.dtype)
        dtype = source.load(AutoConfig).dtype if dtype == "auto" else dtype
        adapts = bool(args.model.use_peft) or source.adapter is not None
        problems.append(float16_problem(dtype, adapts=adapts))
    return [problem for problem in problems if problem]


def _hub_is_unreachable(error: BaseException | None) -> bool:
    from huggingface_hub import errors

    # Libraries wrap what the Hub client raises, some twice. A repository that the Hub does not know
    # is a mistake in the config; a Hub that cannot be asked is not.
    while error is not None:
        if isinstance(error, errors.RepositoryNotFoundError | errors.RevisionNotFoundError):
            return False
        offline = errors.LocalEntryNotFoundError | errors.OfflineModeIsEnabled
        if isinstance(error, offline | ConnectionError):
            return True
        error = error.__cause__ or error.__context__
    return False
