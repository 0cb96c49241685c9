"""What the sandbox's model can do: pass@1, pass@k, maj@k, and how good its proposals are."""

import random
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean

import torch
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

from serl_trl.answers.equality import extract_answer
from serl_trl.answers.voting import vote_groups
from serl_trl.common.completion import Messages
from serl_trl.filters.novelty import RougeLIndex
from serl_trl.labels.band import in_band
from serl_trl.propose.parsing.proposals import parse_proposals
from serl_trl.propose.prompts import NONE, proposer_messages, rollout_messages
from serl_trl.sandbox.domain import STYLE
from serl_trl.sandbox.faults import FAULTS, fault_of
from serl_trl.sandbox.forms import abstain_messages, answer_first_messages, restate_messages
from serl_trl.sandbox.solver import num_phrasings, solve
from tools.hard_corpus import draw_draft

MAX_ANSWER_TOKENS = 64
MAX_PROPOSAL_TOKENS = 448
_BATCH = 400


@dataclass(frozen=True)
class Sample:
    """A completion without its end marker; `ended` is false where the token limit cut it off."""

    text: str
    ended: bool
    num_tokens: int


@dataclass(frozen=True)
class AnswerFigures:
    """Figures over a set of problems, each a fraction in [0, 1] but `mean_tokens` per completion.

    `easiest_quarter` and `hardest_quarter` are mean pass@1 over a quarter of the kinds, by pass@1.
    """

    pass_at_1: float
    pass_at_k: float
    maj_at_k: float
    kind_pass_at_1: dict[str, float]
    kind_maj_at_k: dict[str, float]
    easiest_quarter: float
    hardest_quarter: float
    unparsable_ratio: float
    in_band_ratio: float
    mean_tokens: float


@dataclass(frozen=True)
class ProposalFigures:
    """Figures over the parsed items of proposals, each a fraction in [0, 1].

    `in_band_ratio` is over the groups of novel items, `majority_right_rate` over the solvable ones.
    """

    num_items: int
    solvable_ratio: float
    novel_ratio: float
    in_band_ratio: float
    majority_right_rate: float
    faults: dict[str, float]
    num_templates: int


@dataclass(frozen=True)
class FormFigures:
    """What the hard model does in its other three forms; each a fraction in [0, 1].

    How often it answers `none` where it may, on valid and on broken problems; how often a
    restatement has an answer and keeps it; how often an answer-first problem has an answer and the
    one that was written first.
    """

    none_where_valid: float
    none_where_broken: float
    restated_valid: float
    restated_same_answer: float
    answer_first_valid: float
    answer_first_right: float


def sample(
    model: LlamaForCausalLM,
    tokenizer: PreTrainedTokenizerFast,
    conversations: Sequence[Messages],
    *,
    max_new_tokens: int,
    seed: int,
    temperature: float = 1.0,
    top_p: float = 1.0,
) -> list[Sample]:
    """Sample one completion per conversation, in order.

    Conversations are batched by length. The seed fixes the samples; torch's state is left alone.
    """
    prompts = [
        tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
        for messages in conversations
    ]
    order = sorted(range(len(prompts)), key=lambda index: len(prompts[index]))
    samples: dict[int, Sample] = {}
    with torch.random.fork_rng(), torch.inference_mode():
        torch.manual_seed(seed)
        for start in range(0, len(order), _BATCH):
            rows = order[start : start + _BATCH]
            batch = tokenizer([prompts[row] for row in rows], return_tensors="pt", padding=True).to(
                model.device
            )
            output = model.generate(
                input_ids=batch["input_ids"],
                attention_mask=batch["attention_mask"],
                do_sample=True,
                temperature=temperature,
                top_p=top_p,
                top_k=0,
                max_new_tokens=max_new_tokens,
            )
            for row, ids in zip(
                rows, output[:, batch["input_ids"].shape[1] :].tolist(), strict=True
            ):
                ended = tokenizer.eos_token_id in ids
                ids = ids[: ids.index(tokenizer.eos_token_id)] if ended else ids
                samples[row] = Sample(str(tokenizer.decode(ids)), ended, len(ids))
    return [samples[row] for row in range(len(prompts))]


def measure_answers(
    model: LlamaForCausalLM,
    tokenizer: PreTrainedTokenizerFast,
    rows: Sequence[dict[str, str]],
    *,
    group_size: int,
    seed: int,
) -> AnswerFigures:
    """Sample `group_size` answers per row (instruction, answer, kind) at T 1 and grade them."""
    conversations = [rollout_messages(row["instruction"], STYLE) for row in rows]
    repeated = [messages for messages in conversations for _ in range(group_size)]
    samples = sample(model, tokenizer, repeated, max_new_tokens=MAX_ANSWER_TOKENS, seed=seed)
    answers = [extract_answer(one.text) if one.ended else None for one in samples]
    groups = [answers[start : start + group_size] for start in range(0, len(answers), group_size)]
    votes = vote_groups(groups)
    # Answers are plain whole numbers on both sides, so that equal answers are equal texts.
    pass_rates = [
        group.count(row["answer"]) / group_size for row, group in zip(rows, groups, strict=True)
    ]
    wins = [float(vote.answer == row["answer"]) for row, vote in zip(rows, votes, strict=True)]
    kinds = [row["kind"] for row in rows]
    by_kind = _mean_by_kind(kinds, pass_rates)
    ranked = sorted(by_kind.values())
    quarter = max(1, len(ranked) // 4)
    return AnswerFigures(
        pass_at_1=_mean(pass_rates),
        pass_at_k=_mean(rate > 0 for rate in pass_rates),
        maj_at_k=_mean(wins),
        kind_pass_at_1=by_kind,
        kind_maj_at_k=_mean_by_kind(kinds, wins),
        easiest_quarter=_mean(ranked[-quarter:]),
        hardest_quarter=_mean(ranked[:quarter]),
        unparsable_ratio=_mean(answer is None for answer in answers),
        in_band_ratio=_mean(in_band(vote.majority_ratio, low=0.2, high=0.8) for vote in votes),
        mean_tokens=_mean(one.num_tokens for one in samples),
    )


def _mean(values: Iterable[float]) -> float:
    """Mean of fractions; 0.0 of none, for a model so bad that it proposes nothing."""
    values = list(values)
    return fmean(values) if values else 0.0


def _mean_by_kind(kinds: Sequence[str], values: Sequence[float]) -> dict[str, float]:
    grouped = defaultdict(list)
    for kind, value in zip(kinds, values, strict=True):
        grouped[kind].append(value)
    return {kind: _mean(part) for kind, part in sorted(grouped.items())}


def draw_proposals(
    model: LlamaForCausalLM,
    tokenizer: PreTrainedTokenizerFast,
    seeds: Sequence[str],
    *,
    num_requests: int,
    seed: int,
) -> list[str]:
    """Ask for problems with 8 shots from `seeds` at T 0.8, top_p 0.95; returns the list items."""
    rng = random.Random(seed)
    requests = [proposer_messages(rng.sample(list(seeds), 8), STYLE) for _ in range(num_requests)]
    samples = sample(
        model,
        tokenizer,
        requests,
        max_new_tokens=MAX_PROPOSAL_TOKENS,
        seed=seed,
        temperature=0.8,
        top_p=0.95,
    )
    return [item for one in samples for item in parse_proposals(one.text, truncated=not one.ended)]


def measure_proposals(
    model: LlamaForCausalLM,
    tokenizer: PreTrainedTokenizerFast,
    seeds: Sequence[str],
    *,
    num_requests: int,
    group_size: int,
    seed: int,
) -> ProposalFigures:
    """Measure proposals: solvable, novel beside `seeds` and one another, and their votes."""
    items = draw_proposals(model, tokenizer, seeds, num_requests=num_requests, seed=seed)
    index = RougeLIndex(0.7)
    for text in seeds:
        index.add(text)
    novel = []
    for item in items:
        if index.is_novel(item):
            index.add(item)
            novel.append(item)
    rows = [{"instruction": item, "answer": solve(item) or "", "kind": "any"} for item in novel]
    figures = measure_answers(model, tokenizer, rows, group_size=group_size, seed=seed)
    solvable = [float(row["answer"] != "") for row in rows]
    return ProposalFigures(
        num_items=len(items),
        solvable_ratio=_mean(solve(item) is not None for item in items),
        novel_ratio=len(novel) / max(1, len(items)),
        in_band_ratio=figures.in_band_ratio,
        majority_right_rate=figures.maj_at_k * len(rows) / max(1.0, sum(solvable)),
        faults={
            fault: _mean(fault_of(item) == fault for item in items) for fault in (*FAULTS, "other")
        },
        num_templates=num_phrasings(items),
    )


def measure_forms(
    model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, seeds: Sequence[str], *, seed: int
) -> FormFigures:
    """Measure abstaining, restating and answering first, on 400 drawn problems and on the seeds."""
    rng = random.Random(seed)
    drafts = [draw_draft(rng, broken=0.5) for _ in range(400)]

    def ask(conversations: Sequence[Messages]) -> list[str]:
        samples = sample(model, tokenizer, conversations, max_new_tokens=96, seed=seed)
        return [one.text for one in samples]

    given_up = [
        extract_answer(text) == NONE for text in ask([abstain_messages(d.text) for d in drafts])
    ]
    sound = [draft.text for draft in drafts if draft.fault is None]
    restated = ask([restate_messages(text) for text in sound])
    requests = [answer_first_messages(rng.sample(list(seeds), 4)) for _ in range(200)]
    written = [text.partition("\n")[::2] for text in ask(requests)]
    return FormFigures(
        none_where_valid=_mean(n for n, d in zip(given_up, drafts, strict=True) if not d.fault),
        none_where_broken=_mean(n for n, d in zip(given_up, drafts, strict=True) if d.fault),
        restated_valid=_mean(solve(text) is not None for text in restated),
        restated_same_answer=_mean(
            solve(new) == solve(old) for new, old in zip(restated, sound, strict=True)
        ),
        answer_first_valid=_mean(solve(problem) is not None for _, problem in written),
        answer_first_right=_mean(
            solve(problem) == extract_answer(solution) for solution, problem in written
        ),
    )
