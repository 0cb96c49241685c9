"""Pretrain a sandbox's model: `python -m tools.pretrain --output_dir DIR [--sandbox sandbox_hard]`.

The corpus holds solved problems, whose steps are wrong at the stated rates, and proposer requests
with their continuation; both are rendered exactly as at run time. The slips become the model's
uncertainty, which self-play can then sharpen. Drills, rows of right equations, see to it that most
wrong answers come from the slips and not from ignorance of the tables.

The hard sandbox's model goes on from the easy one, with the corpus of `hard_corpus.py`.
"""

import argparse
import hashlib
import json
import logging
import math
import platform
import random
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import tokenizers
import torch
import transformers
from rich.console import Console
from rich.progress import Progress
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from serl_trl.common.completion import Messages
from serl_trl.propose.prompts import proposer_messages, rollout_messages
from serl_trl.sandbox import load_model, load_tokenizer
from serl_trl.sandbox.domain import (
    EASY,
    HARD,
    STYLE,
    Problem,
    draw_problem,
    heldout_problems,
    reserved_texts,
    seed_problems,
)
from tools import hard_corpus
from tools.measure import measure_answers, measure_forms, measure_proposals
from tools.slips import draw_equations, draw_solution

logger = logging.getLogger(__name__)

PAD, START, END = "<|pad|>", "<|im_start|>", "<|im_end|>"
CONTEXT = 1024
CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>\\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
# A word with the space before it, one digit with the space before it, a command, other signs.
_PIECES = r" ?[A-Za-z]+| ?[0-9]| ?\\[a-z]+\{?|[^\sA-Za-z0-9\\]+| [^\sA-Za-z0-9\\]+|\s+"
_PADDING, _PROMPT, _COMPLETION, _COPY = 0, 1, 2, 3
# A rendered prompt and completion, and whether the completion writes a problem's numbers again.
Document = tuple[str, str, bool]


@dataclass(frozen=True)
class Recipe:
    """What pretraining does; the shipped easy model was made with these values."""

    sandbox: str = EASY
    seed: int = 17
    num_steps: int = 900
    num_solved: int = 64
    num_requests: int = 4
    num_drills: int = 8
    drill_problems: int = 10
    muon_rate: float = 6e-3
    adam_rate: float = 4e-3
    final_rate_fraction: float = 0.02
    warmup_steps: int = 60
    weight_decay: float = 0.05
    max_grad_norm: float = 1.0
    prompt_weight: float = 0.5
    request_weight: float = 0.5
    drill_weight: float = 0.5
    digit_weight: float = 1.0
    vocab_size: int = 2048
    width: int = 128
    num_layers: int = 4
    num_heads: int = 4
    mlp_width: int = 384


# It has the tables and the phrasings already, and learns habits and forms.
HARD_RECIPE = replace(
    Recipe(),
    sandbox=HARD,
    num_steps=600,
    num_solved=256,
    num_requests=12,
    num_drills=16,
    # A restated problem has three numbers among thirty words that may be any.
    digit_weight=3.0,
    warmup_steps=30,
)
RECIPES = {EASY: Recipe(), HARD: HARD_RECIPE}


def draw_solved(rng: random.Random) -> tuple[Messages, str, bool]:
    """Draw a rollout prompt, its completion with slips at the kinds' rates, and that it is no copy.

    The last is as in `hard_corpus.draw_document`.
    """
    problem = _draw_free(rng)
    messages = rollout_messages(problem.instruction, STYLE)
    return messages, draw_solution(problem, rng), False


def draw_request(rng: random.Random) -> tuple[Messages, str]:
    """Draw a proposer request with 2 to 8 shots, mostly 8, and 5 to 8 problems to follow."""
    num_shots = 8 if rng.random() < 0.7 else rng.randint(2, 7)
    texts = [_draw_free(rng).instruction for _ in range(num_shots + rng.randint(5, 8))]
    items = [f"{number}. {text}" for number, text in enumerate(texts, start=1)][num_shots:]
    completion = "\n".join(items).removeprefix(f"{num_shots + 1}.")
    return proposer_messages(texts[:num_shots], STYLE), completion


def _draw_free(rng: random.Random) -> Problem:
    while True:
        problem = draw_problem(rng)
        if problem.instruction not in reserved_texts():
            return problem


def render(messages: Messages, completion: str) -> tuple[str, str]:
    """Return prompt and completion as the chat template renders them, the end marker included."""
    prompt = "".join(f"{START}{m['role']}\n{m['content']}{END}\n" for m in messages)
    return f"{prompt}{START}assistant\n", f"{completion}{END}"


def train_tokenizer(rng: random.Random, *, vocab_size: int) -> PreTrainedTokenizerFast:
    """Train a byte-level BPE tokenizer in which every digit is its own token."""
    documents = ["".join(render(*draw_solved(rng)[:2])) for _ in range(6000)]
    documents += ["".join(render(*draw_request(rng))) for _ in range(600)]
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_PIECES), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=[PAD, START, END],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(documents, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=PAD,
        eos_token=END,
        additional_special_tokens=[START],
        chat_template=CHAT_TEMPLATE,
        model_max_length=CONTEXT,
        clean_up_tokenization_spaces=False,
        padding_side="left",
    )


def build_model(recipe: Recipe, tokenizer: PreTrainedTokenizerFast) -> LlamaForCausalLM:
    """Build the untrained model: a small Llama with tied embeddings."""
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=recipe.width,
        intermediate_size=recipe.mlp_width,
        num_hidden_layers=recipe.num_layers,
        num_attention_heads=recipe.num_heads,
        num_key_value_heads=recipe.num_heads,
        max_position_embeddings=CONTEXT,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    model = LlamaForCausalLM(config)
    model.generation_config = GenerationConfig(
        do_sample=True,
        temperature=1.0,
        top_k=0,
        top_p=1.0,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    return model


@dataclass(frozen=True)
class Batch:
    """Documents as (B, L) tensors padded on the right; `part` tells padding, prompt, completion.

    A completion that writes the numbers of its prompt again has a part of its own. `digits` (V,)
    tells which ids of the vocabulary are digits.
    """

    ids: torch.Tensor
    part: torch.Tensor
    digits: torch.Tensor

    def to(self, device: torch.device) -> "Batch":
        """Return the same batch on `device`."""
        return Batch(self.ids.to(device), self.part.to(device), self.digits.to(device))


def encode_batch(documents: Sequence[Document], tokenizer: PreTrainedTokenizerFast) -> Batch:
    """Encode the documents of a batch."""
    backend = tokenizer.backend_tokenizer
    prompts = [e.ids for e in backend.encode_batch_fast([prompt for prompt, _, _ in documents])]
    ends = [e.ids for e in backend.encode_batch_fast([end for _, end, _ in documents])]
    longest = max(len(p) + len(e) for p, e in zip(prompts, ends, strict=True))
    ids = torch.full((len(documents), longest), tokenizer.pad_token_id)
    part = torch.full_like(ids, _PADDING)
    for row, (prompt, end) in enumerate(zip(prompts, ends, strict=True)):
        length = len(prompt) + len(end)
        ids[row, :length] = torch.tensor(prompt + end)
        part[row, : len(prompt)] = _PROMPT
        part[row, len(prompt) : length] = _COPY if documents[row][2] else _COMPLETION
    digits = torch.zeros(len(tokenizer), dtype=torch.bool)
    digits[[id for text, id in backend.get_vocab().items() if text.removeprefix("Ġ").isdigit()]] = (
        True
    )
    return Batch(ids, part, digits)


def draw_batches(
    recipe: Recipe, tokenizer: PreTrainedTokenizerFast, rng: random.Random, *, num_workers: int = 0
) -> Iterator[tuple[Batch, Batch, Batch]]:
    """Yield (solved problems, requests, drills) for every step.

    Those of the hard sandbox are drawn by `num_workers` processes, which change nothing in them.
    """
    if recipe.sandbox == HARD:
        steps = _HardSteps(recipe, tokenizer)
        yield from torch.utils.data.DataLoader(steps, batch_size=None, num_workers=num_workers)
        return
    for _ in range(recipe.num_steps):
        yield _draw_step(recipe, tokenizer, rng, draw_solved, draw_request)


class _HardSteps(torch.utils.data.Dataset):
    """The batches of the hard sandbox's steps, each from a random generator of its own."""

    def __init__(self, recipe: Recipe, tokenizer: PreTrainedTokenizerFast) -> None:
        self._recipe = recipe
        self._tokenizer = tokenizer

    def __len__(self) -> int:
        return self._recipe.num_steps

    def __getitem__(self, step: int) -> tuple[Batch, Batch, Batch]:
        rng = random.Random(f"{self._recipe.seed} {step}")
        draw_one, draw_list = hard_corpus.draw_document, hard_corpus.draw_request
        return _draw_step(self._recipe, self._tokenizer, rng, draw_one, draw_list)


def _draw_step(
    recipe: Recipe,
    tokenizer: PreTrainedTokenizerFast,
    rng: random.Random,
    draw_one: Callable[[random.Random], tuple[Messages, str, bool]],
    draw_list: Callable[[random.Random], tuple[Messages, str]],
) -> tuple[Batch, Batch, Batch]:
    drawn = [draw_one(rng) for _ in range(recipe.num_solved)]
    solved = [(*render(messages, end), copies) for messages, end, copies in drawn]
    requests = [(*render(*draw_list(rng)), False) for _ in range(recipe.num_requests)]
    drills = [
        (f"{START}assistant\n", draw_equations(rng, num_problems=recipe.drill_problems), False)
        for _ in range(recipe.num_drills)
    ]
    return (
        encode_batch(solved, tokenizer),
        encode_batch(requests, tokenizer),
        encode_batch(drills, tokenizer),
    )


def pretrain(
    recipe: Recipe, *, device: str = "cpu", num_workers: int = 0
) -> tuple[LlamaForCausalLM, PreTrainedTokenizerFast]:
    """Train tokenizer and model; a recipe gives the same model again on the same machine."""
    rng = random.Random(recipe.seed)
    if recipe.sandbox == HARD:
        model, tokenizer = load_model(), load_tokenizer()
    else:
        tokenizer = train_tokenizer(rng, vocab_size=recipe.vocab_size)
        with torch.random.fork_rng():
            torch.manual_seed(recipe.seed)
            model = build_model(recipe, tokenizer)
    model.to(device).train()
    optimizers = _build_optimizers(model, recipe)
    on_terminal = sys.stderr.isatty()
    with Progress(console=Console(stderr=True), disable=not on_terminal) as bar:
        task = bar.add_task("", total=recipe.num_steps)
        drawn = draw_batches(recipe, tokenizer, rng, num_workers=num_workers)
        for step, batches in enumerate(drawn, start=1):
            losses = _step_losses(model, [batch.to(model.device) for batch in batches], recipe)
            torch.nn.utils.clip_grad_norm_(model.parameters(), recipe.max_grad_norm)
            for optimizer in optimizers:
                for group in optimizer.param_groups:
                    group["lr"] = group["peak_lr"] * _rate_at(step, recipe)
                optimizer.step()
                optimizer.zero_grad(set_to_none=True)
            shown = ", ".join(f"{name} {loss:.3f}" for name, loss in losses.items())
            bar.update(task, completed=step, description=shown)
            if not on_terminal and (step % 100 == 0 or step == recipe.num_steps):
                logger.info("%d/%d %s", step, recipe.num_steps, shown)
    return model.cpu().eval(), tokenizer


def _build_optimizers(model: LlamaForCausalLM, recipe: Recipe) -> list[torch.optim.Optimizer]:
    """Muon for the matrices inside the layers, AdamW for embeddings and norms."""
    matrices = [p for p in model.model.layers.parameters() if p.dim() == 2]
    inside = {id(p) for p in matrices}
    others = [p for p in model.parameters() if id(p) not in inside]
    return [
        torch.optim.Muon(
            [{"params": matrices, "peak_lr": recipe.muon_rate}],
            weight_decay=recipe.weight_decay,
            adjust_lr_fn="match_rms_adamw",
        ),
        torch.optim.AdamW(
            [{"params": others, "peak_lr": recipe.adam_rate}], betas=(0.9, 0.98), weight_decay=0.0
        ),
    ]


def _step_losses(
    model: LlamaForCausalLM, batches: Sequence[Batch], recipe: Recipe
) -> dict[str, float]:
    """Add the gradients of one step, batch by batch to save memory; returns the losses by name."""
    solved, requests, drills = batches
    prompt_loss, answer_loss = _losses(model, solved, digit_weight=recipe.digit_weight)
    (answer_loss + recipe.prompt_weight * prompt_loss).backward()
    shots_loss, request_loss = _losses(model, requests)
    (recipe.request_weight * (shots_loss + request_loss)).backward()
    _, drill_loss = _losses(model, drills)
    (recipe.drill_weight * drill_loss).backward()
    return {
        "answers": answer_loss.item(),
        "problems": prompt_loss.item(),
        "requests": request_loss.item(),
        "drills": drill_loss.item(),
    }


def _rate_at(step: int, recipe: Recipe) -> float:
    """Linear warm-up, then a cosine down to `final_rate_fraction`."""
    if step < recipe.warmup_steps:
        return (step + 1) / recipe.warmup_steps
    part = (step - recipe.warmup_steps) / max(1, recipe.num_steps - recipe.warmup_steps)
    low = recipe.final_rate_fraction
    return low + (1 - low) * (1 + math.cos(math.pi * min(part, 1.0))) / 2


def _losses(
    model: LlamaForCausalLM, batch: Batch, *, digit_weight: float = 1.0
) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean cross-entropy per token of the prompts and of the completions.

    A digit of a completion that copies counts `digit_weight` times; elsewhere that would tip the
    choice between a further equation and the answer. Padding is on the right, where nothing attends
    to it, so no mask is needed.
    """
    hidden = model.model(batch.ids[:, :-1], use_cache=False).last_hidden_state
    part = batch.part[:, 1:]
    chosen = part != _PADDING
    ids = batch.ids[:, 1:][chosen]
    losses = torch.nn.functional.cross_entropy(model.lm_head(hidden[chosen]), ids, reduction="none")
    part = part[chosen]
    weights = torch.where(batch.digits[ids] & (part == _COPY), digit_weight, 1.0)[part > _PROMPT]
    completion = (losses[part > _PROMPT] * weights).sum() / weights.sum()
    return losses[part == _PROMPT].mean(), completion


def save(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, folder: Path) -> str:
    """Save as float16, tokenizer included; returns the SHA-256 of the weights file."""
    folder.mkdir(parents=True, exist_ok=True)
    LlamaForCausalLM.save_pretrained(model.to(torch.float16), folder)
    tokenizer.save_pretrained(folder)
    return hash_weights(folder)


def hash_weights(folder: Path) -> str:
    """Return the SHA-256 of a model folder's weights file."""
    return hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()


def measure(folder: Path, name: str, *, seed: int, device: str = "cpu") -> dict[str, dict]:
    """Measure a saved model, loaded back as float32; see `measure.py` for the figures."""
    model = LlamaForCausalLM.from_pretrained(folder, dtype=torch.float32).to(device)
    tokenizer = PreTrainedTokenizerFast.from_pretrained(folder)
    rows = [
        {"instruction": problem.instruction, "answer": problem.answer, "kind": problem.kind}
        for problem in heldout_problems(name)
    ]
    seeds = [problem.instruction for problem in seed_problems(name)]
    answers = measure_answers(model, tokenizer, rows, group_size=16, seed=seed)
    proposals = measure_proposals(
        model, tokenizer, seeds, num_requests=32, group_size=16, seed=seed
    )
    figures = {"heldout": asdict(answers), "proposals": asdict(proposals)}
    if name == HARD:
        figures["forms"] = asdict(measure_forms(model, tokenizer, seeds, seed=seed))
    return figures


def main(arguments: Sequence[str] | None = None) -> None:
    """Pretrain, save, measure, and write `measured.json` beside the weights."""
    options = _parse(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    torch.set_num_threads(options.num_threads)
    recipe = replace(RECIPES[options.sandbox], seed=options.seed)
    recipe = replace(recipe, num_steps=options.num_steps or recipe.num_steps)
    started = time.monotonic()
    model, tokenizer = pretrain(recipe, device=options.device, num_workers=options.num_workers)
    record = {
        "weights_sha256": save(model, tokenizer, options.output_dir),
        "pretraining_s": round(time.monotonic() - started),
        "command": (
            f"python -m tools.pretrain --output_dir DIR --sandbox {recipe.sandbox} "
            f"--num_steps {recipe.num_steps} --seed {recipe.seed} "
            f"--num_threads {options.num_threads} --device {options.device}"
        ),
        "recipe": asdict(recipe),
        "versions": {
            "python": platform.python_version(),
            "torch": torch.__version__,
            "transformers": transformers.__version__,
            "tokenizers": tokenizers.__version__,
        },
        "num_parameters": model.num_parameters(),
        "measuring_seed": options.seed,
        **measure(options.output_dir, recipe.sandbox, seed=options.seed, device=options.device),
    }
    text = json.dumps(_rounded(record), indent=2) + "\n"
    (options.output_dir / "measured.json").write_text(text, encoding="utf-8")
    if options.json:
        sys.stdout.write(text)


def _rounded(value):
    """Round every float inside `value` to four digits."""
    if isinstance(value, dict):
        return {key: _rounded(part) for key, part in value.items()}
    return round(value, 4) if isinstance(value, float) else value


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tools.pretrain",
        description="Pretrain the sandbox's model from nothing and measure it.",
        allow_abbrev=False,
    )
    recipe = Recipe()
    parser.add_argument("--output_dir", type=Path, required=True, help="Folder for the model.")
    parser.add_argument("--sandbox", choices=RECIPES, default=EASY, help="Which of the two.")
    parser.add_argument("--num_steps", type=int, default=None, help="Optimizer steps.")
    parser.add_argument("--seed", type=int, default=recipe.seed, help="Corpus, weights, samples.")
    parser.add_argument("--num_threads", type=int, default=2, help="CPU threads.")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="Trains there.")
    parser.add_argument("--num_workers", type=int, default=0, help="Draw the hard corpus.")
    parser.add_argument("--json", action="store_true", help="Write the figures to stdout, too.")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
