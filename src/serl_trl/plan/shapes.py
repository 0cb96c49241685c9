"""Sizes of language models: a table of published ones, read without the Hub or the weights."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from serl_trl.common.plain_yaml import own_table


@dataclass(frozen=True)
class ModelShape:
    """What a decoder's memory depends on; `head_size` is the width of one attention head.

    `num_parameters` counts tied embeddings once, `context` is the longest sequence in tokens
    (`None`: the model does not say).
    """

    model_type: str
    num_layers: int
    hidden_size: int
    num_heads: int
    num_kv_heads: int
    head_size: int
    intermediate_size: int
    vocab_size: int
    tied_embeddings: bool
    context: int | None
    num_parameters: int

    @property
    def embedding_parameters(self) -> int:
        """Parameters of the embedding and, where it is a matrix of its own, the output head."""
        return self.vocab_size * self.hidden_size * (1 if self.tied_embeddings else 2)

    @property
    def linear_layers(self) -> dict[str, tuple[int, int]]:
        """Inputs and outputs of the linear layers of one block, by the name LoRA targets."""
        hidden, inner = self.hidden_size, self.intermediate_size
        queries, keys = self.num_heads * self.head_size, self.num_kv_heads * self.head_size
        return {
            "q_proj": (hidden, queries),
            "k_proj": (hidden, keys),
            "v_proj": (hidden, keys),
            "o_proj": (queries, hidden),
            "gate_proj": (hidden, inner),
            "up_proj": (hidden, inner),
            "down_proj": (inner, hidden),
        }


def count_parameters(shape: ModelShape) -> int:
    """Count the parameters of a Llama, Qwen2 or Qwen3 from its sizes.

    Per block: the linear layers, two norms, in Qwen2 the biases of queries, keys and values, in
    Qwen3 a norm each for queries and keys. Then the last norm and the embeddings.
    """
    layers = shape.linear_layers
    block = sum(inputs * outputs for inputs, outputs in layers.values()) + 2 * shape.hidden_size
    if shape.model_type == "qwen2":
        block += sum(layers[name][1] for name in ("q_proj", "k_proj", "v_proj"))
    if shape.model_type == "qwen3":
        block += 2 * shape.head_size
    return shape.num_layers * block + shape.hidden_size + shape.embedding_parameters


def shape_of_config(config: Any, folder: Path | None = None) -> ModelShape:
    """Return the sizes that a transformers config states, with the parameters counted.

    They are counted in the headers of the weights in `folder`. Where there are none, the model is
    built without data, which loads its code for seconds.

    Raises `ValueError` when the config is not that of a decoder with attention.
    """
    text = config.get_text_config()
    try:
        heads = text.num_attention_heads
        return ModelShape(
            model_type=text.model_type,
            num_layers=text.num_hidden_layers,
            hidden_size=text.hidden_size,
            num_heads=heads,
            # Without grouped-query attention a config names one count of heads, and often no width
            # of one.
            num_kv_heads=getattr(text, "num_key_value_heads", None) or heads,
            head_size=getattr(text, "head_dim", None) or text.hidden_size // heads,
            intermediate_size=text.intermediate_size,
            vocab_size=text.vocab_size,
            tied_embeddings=bool(text.tie_word_embeddings),
            context=getattr(text, "max_position_embeddings", None),
            num_parameters=_stored_parameters(config, folder) or _built_parameters(text),
        )
    except AttributeError as error:
        raise ValueError(
            f"model_type={text.model_type} does not state its sizes as a decoder does: {error}"
        ) from error


def _stored_parameters(config: Any, folder: Path | None) -> int | None:
    """Count what lies in a folder; not where it is packed (quantised) or more than one decoder."""
    from safetensors import SafetensorError, safe_open

    text_only = config is config.get_text_config()
    if folder is None or not text_only or getattr(config, "quantization_config", None) is not None:
        return None
    # By the form of their names: an index may name any path, and a pipe would be waited for.
    whole = folder / "model.safetensors"
    # One file goes before shards, as transformers looks for them.
    files = [whole] if whole.is_file() else sorted(folder.glob("model-*-of-*.safetensors"))
    total = 0
    try:
        for file in files:
            if not file.is_file():
                return None
            with safe_open(file, framework="numpy") as held:
                total += sum(math.prod(held.get_slice(name).get_shape()) for name in held.keys())  # noqa: SIM118 - not a mapping
    except (SafetensorError, OSError):
        return None
    return total or None


def _built_parameters(text_config: Any) -> int:
    import torch
    from transformers import AutoModelForCausalLM

    # On "meta" a tensor has a shape and no data.
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(text_config)
    return sum(parameter.numel() for parameter in model.parameters())


def _published(model_type: str, *sizes: Any) -> ModelShape:
    """Return the sizes of a row of published.yaml, whose columns are the fields in order."""
    sized = ModelShape(model_type, *sizes, num_parameters=0)
    return replace(sized, num_parameters=count_parameters(sized))


PUBLISHED: Mapping[str, Any] = own_table(__file__, "published.yaml")
# Published models by their Hub id, with the sizes that their `config.json` states.
SHAPES: dict[str, ModelShape] = {
    name: _published(*row) for name, row in PUBLISHED["models"].items()
}
