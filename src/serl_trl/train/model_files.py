"""Whether a model's files can be trained: whole, finite, and of the shapes that its config says.

transformers draws a tensor that a folder lacks at random, keeps NaN, and names no file in what it
raises. Everything here reads headers only, except `refuse_nonfinite`, which reads all once.
"""

import copy
import functools
import json
import math
from collections.abc import Collection, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import TYPE_CHECKING, Any

import torch
from accelerate.utils import broadcast_object_list
from safetensors import SafetensorError
from safetensors.torch import load_file
from transformers.utils import logging as hf_logging
from transformers.utils.hub import cached_file

from serl_trl.common.processes import is_main_process
from serl_trl.common.quiet import own_lines_only
from serl_trl.common.text import one_line, visible
from serl_trl.sandbox import MODEL_PATHS

if TYPE_CHECKING:
    from peft import PeftConfig

# Names of weights, in the order in which loaders look for them.
MODEL_FILES = (
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
)
ADAPTER_FILES = ("adapter_model.safetensors", "adapter_model.bin")

# Options of `from_pretrained` with which other files than these are loaded.
ELSEWHERE = ("subfolder", "variant", "gguf_file", "state_dict")

# What the embedding of tokens is called in most models.
_EMBEDDINGS = ("embed_tokens.weight", "wte.weight", "embed_in.weight", "word_embeddings.weight")
# What torch, safetensors and JSON raise for bytes that are not what the name of the file says.
_DAMAGED = (OSError, RuntimeError, ValueError, TypeError, AttributeError, EOFError)


class ModelFileError(ValueError):
    """What is wrong with a model's files: the file, the tensor and the way out."""


@dataclass(frozen=True)
class Weights:
    """The files that hold the weights of the folder or Hub model `path`, which `option` names."""

    path: str
    files: tuple[Path, ...] = ()
    option: str = "model_name_or_path"

    def refuse(self, problem: str, file: Path | None = None) -> ModelFileError:
        """Return the error that names the model, the file and the problem."""
        place = f" {visible(file.name)}" if file else ""
        return ModelFileError(f"{self.option}={visible(self.path)}:{place} {problem}")


def refuse_bad_model(
    path: str,
    args: Any,
    *,
    revision: str | None = None,
    adapter: "PeftConfig | None" = None,
) -> None:
    """Raise `ModelFileError`, in all processes at once, unless the weights can be used.

    With `adapter`, `path` is an adapter, and its base is looked at too. Reads the weights once.
    """
    from transformers import AutoConfig

    given = args.model_init_kwargs or {}
    if any(name in given for name in ELSEWHERE):
        return
    revision = revision or given.get("revision")
    trust = given.get("trust_remote_code", args.trust_remote_code)
    base_path = str(adapter.base_model_name_or_path) if adapter else path
    base_revision = adapter.revision if adapter else revision
    config = AutoConfig.from_pretrained(base_path, revision=base_revision, trust_remote_code=trust)
    # All processes download, as the loader does it: none waits for the first one.
    base, found = find_model(path, revision=revision, adapter=adapter)
    if base is not None:
        _refuse_bad_files(config, base, found, adapter)


def refuse_bad_teacher(name: str) -> None:
    """Raise `ModelFileError`, in all processes at once, unless a model that only answers is whole.

    It runs no code of its own: the trust that `trust_remote_code` gives is the trained model's.
    """
    from transformers import AutoConfig, AutoTokenizer

    path = str(MODEL_PATHS.get(name, name))
    try:
        config = AutoConfig.from_pretrained(path, trust_remote_code=False)
        AutoTokenizer.from_pretrained(path, trust_remote_code=False)
    # Readers of configs and tokenizers raise nearly anything for a damaged file.
    except Exception as error:
        problem = f"its config or tokenizer cannot be read: {one_line(error)}."
        raise Weights(name, option="teacher").refuse(problem) from error
    if base := find_weights(path, option="teacher"):
        _refuse_bad_files(config, base, None, None)


def _refuse_bad_files(
    config: Any, base: Weights, found: Weights | None, adapter: "PeftConfig | None"
) -> None:
    problem = ""
    if is_main_process():
        try:
            check_model(config, base, found, adapter)
            for weights in (base, found) if found else (base,):
                refuse_nonfinite(weights)
        except ModelFileError as error:
            problem = str(error)
    if problem := broadcast_object_list([problem])[0]:
        raise ModelFileError(problem)


def find_model(
    path: str, *, revision: str | None, adapter: "PeftConfig | None", local_only: bool = False
) -> tuple[Weights | None, Weights | None]:
    """Return the weights of a model and, where it is one, of the adapter over it."""
    if adapter is None:
        return find_weights(path, revision=revision, local_only=local_only), None
    base = str(adapter.base_model_name_or_path)
    return (
        find_weights(base, revision=adapter.revision, local_only=local_only),
        find_weights(path, revision=revision, names=ADAPTER_FILES, local_only=local_only),
    )


def check_model(
    config: Any, base: Weights, found: Weights | None, adapter: "PeftConfig | None"
) -> int | None:
    """Check the tensors of a model, and of the adapter over it, by the headers of their files.

    Returns the number of rows of the embedding; `None` where the headers do not tell it.
    """
    _check_generation_config(base)
    model = check_tensors(base, config)
    if model is None:
        return None
    rows = model.get_input_embeddings().weight.shape[0]
    # An adapter is compared with its base, so the base comes first.
    if adapter is not None and found is not None:
        check_adapter(found, model, adapter)
    return rows


def check_headers(config: Any, base: Weights, found: Weights | None) -> int | None:
    """Check what the headers say by themselves, where loading the code of the model takes too long.

    `found` is the adapter over `base`. Returns what `check_model` returns.
    """
    _check_generation_config(base)
    tensors = _shapes(base)
    if found is not None:
        _shapes(found)
    # A model with several towers has several, and the headers do not say which one reads text.
    names = [name for name in tensors if name.endswith(_EMBEDDINGS)]
    if len(names) != 1 or getattr(config, "quantization_config", None) is not None:
        return None
    file, embedding = tensors[names[0]]
    if embedding.dim() != 2:
        return None
    rows, width = embedding.shape
    wanted = getattr(config.get_text_config(), "vocab_size", rows)
    if wanted not in (None, rows):
        raise base.refuse(_misshapen(names[0], (rows, width), (wanted, width)), file)
    return rows


def find_weights(
    path: str,
    *,
    revision: str | None = None,
    names: Sequence[str] = MODEL_FILES,
    local_only: bool = False,
    option: str = Weights.option,
) -> Weights | None:
    """Return the weight files of a folder or Hub model, which are downloaded where they are not.

    With `local_only` nothing is downloaded; `None` where the Hub model is not on the disk. Raises
    `ModelFileError` where there are none, or the index names a file that is not there.
    """
    get = functools.partial(_get_file, path, revision=revision, local_only=local_only)
    weights, may_lack = Weights(path, option=option), local_only and not Path(path).is_dir()
    first = next(filter(None, map(get, names)), None)
    if first is None:
        if may_lack:
            return None
        raise weights.refuse(f"has no weights; one of {', '.join(names)} must be there.")
    if first.suffix != ".json":
        return Weights(path, (first,), option)
    shards = {name: get(name) for name in _shard_names(first, weights)}
    if missing := [name for name, found in shards.items() if found is None]:
        if may_lack:
            return None
        raise weights.refuse(
            f"names {visible(missing[0])}, which is not there ({len(missing)} of {len(shards)} "
            "files are missing); download the model again.",
            first,
        )
    return Weights(path, tuple(filter(None, shards.values())), option)


def _get_file(path: str, name: str, *, revision: str | None, local_only: bool) -> Path | None:
    found = cached_file(
        path,
        name,
        revision=revision,
        local_files_only=local_only,
        _raise_exceptions_for_missing_entries=False,
        _raise_exceptions_for_connection_errors=not local_only,
    )
    return Path(found) if found else None


def refuse_nonfinite(weights: Weights) -> None:
    """Raise `ModelFileError` when a tensor holds NaN or infinity; about a second per GB."""
    for file in weights.files:
        for name, tensor in _tensors(file, weights).items():
            # Narrower types are quantised, and have no minimum.
            if not tensor.is_floating_point() or tensor.itemsize < 2 or not tensor.numel():
                continue
            if not all(math.isfinite(end) for end in torch.stack(tensor.aminmax()).tolist()):
                raise weights.refuse(
                    f"holds NaN or infinity in {visible(name)}; take another checkpoint of the "
                    "model, or download it again.",
                    file,
                )


def check_tensors(weights: Weights, config: Any) -> Any:
    """Return the model without data; raise `ModelFileError` when a tensor is missing or misshapen.

    The model's own class says which tensors there are; weights that `config` ties to others may be
    missing. `None` where the files cannot be compared: stored quantised, they hold other tensors
    than the model, and a model whose code comes with it is built by that code alone.
    """
    import transformers

    if not config.architectures:
        raise weights.refuse("config.json names no architecture; add `architectures`.")
    architecture = getattr(transformers, config.architectures[0], None)
    if architecture is None or getattr(config, "quantization_config", None) is not None:
        return None
    found = _shapes(weights)
    with _building(weights, "no model can be built from config.json"):
        model, loaded = architecture.from_pretrained(
            None,
            config=config,
            state_dict={name: tensor for name, (_, tensor) in found.items()},
            device_map="meta",
            output_loading_info=True,
            ignore_mismatched_sizes=True,
        )
    _refuse_missing(weights, loaded["missing_keys"])
    for name, stored, wanted in sorted(loaded["mismatched_keys"]):
        file = found[name][0] if name in found else _only(weights)
        raise weights.refuse(_misshapen(name, stored, wanted), file)
    return model


def check_adapter(weights: Weights, base: Any, adapter: "PeftConfig") -> None:
    """Raise `ModelFileError` unless the files hold the tensors that the adapter has over `base`.

    `base` is a model without data, see `check_tensors`.
    """
    from peft import get_peft_model, get_peft_model_state_dict

    found = _shapes(weights)
    with _building(weights, "adapter_config.json does not fit its base"):
        # A copy, because PEFT writes the name of `base` into it.
        wanted = get_peft_model_state_dict(get_peft_model(base, copy.deepcopy(adapter)))
    _refuse_missing(weights, wanted.keys() - found.keys())
    for name, tensor in wanted.items():
        file, stored = found[name]
        if stored.shape != tensor.shape:
            raise weights.refuse(_misshapen(name, stored.shape, tensor.shape), file)


def tokenizer_problem(tokenizer: Any, num_embeddings: int) -> str:
    """Return why the ids of `tokenizer` do not fit an embedding of so many rows, or nothing."""
    # Ids may have gaps, so the size of the vocabulary does not tell.
    highest = max(tokenizer.get_vocab().items(), key=lambda item: item[1], default=("", -1))
    if highest[1] < num_embeddings:
        return ""
    return (
        f"the tokenizer goes up to id {highest[1]} ({visible(highest[0])!r}), but the model's "
        f"embedding has {num_embeddings} rows; take the tokenizer that belongs to the model, or "
        "resize the embedding and save it."
    )


def float16_problem(dtype: Any, *, adapts: bool) -> str:
    """Return why weights of type `dtype` are not trained, or nothing."""
    if adapts or str(dtype).removeprefix("torch.") not in ("float16", "half"):
        return ""
    return (
        "dtype=float16 is refused for training all weights: updates overflow or vanish in it; set "
        "dtype to float32 or bfloat16, or train an adapter with use_peft: true."
    )


def refuse_float16(model: Any, args: Any) -> None:
    """Raise `ValueError` when `model` trains float16 weights; DeepSpeed keeps float32 copies."""
    halves = (p for p in model.parameters() if p.requires_grad and p.dtype == torch.float16)
    if any(True for _ in halves) and args.deepspeed_plugin is None:
        raise ValueError(float16_problem(torch.float16, adapts=False))


def _check_generation_config(weights: Weights) -> None:
    from transformers import GenerationConfig

    # transformers reads it beside the weights, and only when the model is already loaded.
    file = weights.files[0].with_name("generation_config.json")
    if not file.is_file():
        return
    try:
        GenerationConfig.from_dict(json.loads(file.read_text(encoding="utf-8")))
    # The values of the file decide what transformers raises.
    except Exception as error:
        raise weights.refuse(
            f"cannot be read ({_why(error)}); correct it, or remove it.", file
        ) from error


def _refuse_missing(weights: Weights, names: Collection[str]) -> None:
    if names:
        more = f" and {len(names) - 1} more tensors" if len(names) > 1 else ""
        raise weights.refuse(
            f"lacks {visible(min(names))}{more}, which would be random numbers; download the "
            "model again.",
            _only(weights),
        )


def _misshapen(name: str, stored: Sequence[int], wanted: Sequence[int]) -> str:
    return (
        f"holds {visible(name)} of shape {list(stored)}, config.json wants {list(wanted)}; the two "
        "belong to different models."
    )


def _only(weights: Weights) -> Path | None:
    return weights.files[0] if len(weights.files) == 1 else None


def _shard_names(index: Path, weights: Weights) -> list[str]:
    try:
        placed = json.loads(index.read_text(encoding="utf-8"))["weight_map"]
        names = list(dict.fromkeys(placed.values()))
    except (KeyError, *_DAMAGED) as error:
        raise weights.refuse(
            f"cannot be read as an index of weights ({_why(error)}); download the model again.",
            index,
        ) from error
    for name in names:
        # An index from somebody else could name any file of this machine.
        if not isinstance(name, str) or Path(name).name != name:
            raise weights.refuse(f"names {visible(str(name))}, a file outside the model.", index)
    return names


def _shapes(weights: Weights) -> dict[str, tuple[Path, torch.Tensor]]:
    """Return the file and a tensor without data for each name."""
    return {
        name: (file, tensor.to("meta"))
        for file in weights.files
        for name, tensor in _tensors(file, weights).items()
    }


def _tensors(file: Path, weights: Weights) -> dict[str, torch.Tensor]:
    """Return the tensors of a file. It is mapped: bytes are read when they are looked at."""
    try:
        if file.suffix == ".safetensors":
            return load_file(file)
        # `weights_only` unpickles tensors and runs nothing.
        state = torch.load(file, map_location="cpu", mmap=True, weights_only=True)
        return {name: value for name, value in state.items() if torch.is_tensor(value)}
    except (SafetensorError, UnpicklingError, *_DAMAGED) as error:
        # What torch says of a pickle that holds more than tensors is advice to run it.
        why = "it holds no bare tensors" if isinstance(error, UnpicklingError) else _why(error)
        raise weights.refuse(
            f"cannot be read ({why}); it is cut off or no file of weights, download it again.",
            file,
        ) from error


def _why(error: Exception) -> str:
    return visible(one_line(error))[:200]


@contextmanager
def _building(weights: Weights, problem: str) -> Generator[None]:
    """Build a model inside the block; raise `ModelFileError` with `problem` for what that raises.

    The loader's table and progress bar stay off the terminal: what matters is raised. ZeRO-3 would
    cut the model up, in all processes at once, so its config is taken away meanwhile.
    """
    from transformers.integrations import deepspeed

    level = hf_logging.get_verbosity()
    known = deepspeed._hf_deepspeed_config_weak_ref
    config = known() if known else None
    hf_logging.set_verbosity(hf_logging.CRITICAL)
    deepspeed.unset_hf_deepspeed_config()
    try:
        with own_lines_only():
            yield
    except Exception as error:
        # Model classes raise nearly anything for a bad config.
        raise weights.refuse(f"{problem}: {_why(error)}.") from error
    finally:
        hf_logging.set_verbosity(level)
        if config is not None:
            deepspeed.set_hf_deepspeed_config(config)
