"""Every text the policy is shown: one place for rollouts, evaluation and proposing."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from serl_trl.common.completion import Messages

PLACEHOLDER = "{instruction}"
"""Where a `task_template` takes the text that it asks about."""
USUAL = "{answer_instruction}"
"""Where an `abstain_instruction` takes what else stands behind an instruction."""
NONE = "none"
"""The answer that says there is no answer, where a prompt allows it."""


@dataclass(frozen=True)
class PromptStyle:
    """The texts around an instruction, in each of which `{domain}` is replaced.

    With a `task_template` instructions are texts that ask nothing: the template, in which only
    `{instruction}` is replaced, asks the same of each and takes the place of `answer_instruction`.

    `str.format` would read the braces of answer formats (`\\boxed{}`) as fields.
    """

    domain: str = "mathematics"
    proposer_system: str = (
        "You are an experienced teacher of {domain} who sets problems for a class. Continue the "
        "numbered list with new problems. Each one must stand on its own, differ from all the "
        "others in what it asks, and have exactly one answer that can be checked. Never solve a "
        "problem."
    )
    proposer_request: str = "Problems in {domain}:"
    answer_first_system: str = (
        "You are an experienced teacher of {domain}. The numbered problems show what is wanted. "
        "Write one new problem of their kind, backwards: first a short solution that ends in the "
        'final answer inside \\boxed{}, then, on a line that begins with "Problem:", the problem '
        "that it solves. The problem must stand on its own and must not tell its answer."
    )
    rollout_system: str = ""
    answer_instruction: str = "Reason step by step and write the final answer inside \\boxed{}."
    abstain_instruction: str = (
        "{answer_instruction} If it cannot be answered, because something is missing or "
        "contradictory, write \\boxed{none} instead."
    )
    restate_instruction: str = (
        "Say this in other words. Keep every number, every name and what is asked. Do not answer "
        "it; write the new wording alone."
    )
    task_template: str = ""

    def fill(self, text: str) -> str:
        """Return `text` with `{domain}` replaced."""
        return text.replace("{domain}", self.domain)


FOR_TEXTS = PromptStyle(
    domain="texts",
    proposer_system=(
        "You write {domain}. Continue the numbered list with new ones of the same kind. Each one "
        "must stand on its own and differ from all the others in what it says, in its tone and in "
        "its opinion. Write the {domain} alone: no titles, no labels, no remarks on them."
    ),
    proposer_request="A list of {domain}:",
    answer_first_system=(
        "You write {domain}. The numbered ones show what is wanted. Of each it will be asked:\n"
        "{question}\n"
        "First choose an answer and write it inside \\boxed{}. Then write, on the next line, one "
        "new text of the same kind of which that answer is true. Do not name the answer in it."
    ),
)
"""What the proposer is told where instructions are texts and nothing else was chosen."""


CHECK_INSTRUCTION = (
    "Is this solution right? Check it briefly, and write \\boxed{yes} or \\boxed{no} at the end."
)
"""What `verified_vote` asks of a solution."""

JUDGE_INSTRUCTION = (
    "How good is this solution? Write a whole number from 0 (wrong) to {scale} (right and clear) "
    "inside \\boxed{}."
)
"""What `judge` asks of a solution; `{scale}` is its best mark."""

DUAL_INSTRUCTION = (
    "In this question a number is hidden as X, and its answer is known. Work out X from the answer "
    "and write it inside \\boxed{}."
)
"""What `dual` asks of a question without one of its numbers."""

RETRY_REQUEST = "Some of the last ones were refused. Each new one must {asks}."
"""What `retry` adds to a request; `{asks}` is what the refused ones lacked."""


def rollout_messages(instruction: str, style: PromptStyle) -> Messages:
    """Build the conversation whose completion is rolled out, or graded in evaluation."""
    # Nothing is replaced once the instruction stands in: a text may hold braces of its own.
    parts = [style.task_template.replace(PLACEHOLDER, instruction)]
    if not style.task_template:
        parts = [instruction, style.fill(style.answer_instruction)]
    user = {"role": "user", "content": "\n".join(part for part in parts if part)}
    return _system(style.fill(style.rollout_system)) + [user]


def asked_anew(messages: Messages, instruction: str, text: str) -> Messages:
    """Return a solver's prompt with `text` in place of what stands behind the instruction in it.

    `{answer_instruction}` in `text` is what stood there.
    """
    *before, user = messages
    content = user["content"]
    end = content.find(instruction) + len(instruction) if instruction in content else len(content)
    rest = content[end:]
    gap = rest[: len(rest) - len(rest.lstrip())] if rest else "\n"
    behind = text.replace(USUAL, rest.strip()).strip()
    return [*before, {**user, "content": content[:end] + gap + behind}]


def with_instruction(messages: Messages, instruction: str, other: str) -> Messages:
    """Return a solver's prompt that asks `other` in place of its instruction."""
    *before, user = messages
    return [*before, {**user, "content": user["content"].replace(instruction, other, 1)}]


def restate_messages(instruction: str, text: str) -> Messages:
    """Build the conversation that asks, by `text`, for an instruction in other words."""
    return [{"role": "user", "content": f"{instruction}\n{text}"}]


# Asked one after the other of who judges a question; each answer no finds it broken.
JUDGE_QUESTIONS = (
    "Is every condition in this problem possible?",
    "Do the conditions of this problem agree with each other?",
    "Does this problem give all that its answer needs?",
)


def judge_messages(instruction: str, question: str) -> Messages:
    """Build the conversation that asks yes or no about an instruction, one of `JUDGE_QUESTIONS`."""
    asked = f"{question} Do not solve it. Answer \\boxed{{yes}} or \\boxed{{no}}."
    return [{"role": "user", "content": f"Problem:\n{instruction}\n\n{asked}"}]


def check_messages(instruction: str, solution: str, text: str) -> Messages:
    """Build the conversation that asks, by `text`, what a solution of an instruction is worth."""
    content = f"{instruction}\n\nA solution:\n{solution}\n\n{text}"
    return [{"role": "user", "content": content}]


def dual_messages(question: str, answer: str) -> Messages:
    """Build the conversation that asks for the number X hidden in a question with this answer."""
    content = f"{DUAL_INSTRUCTION}\n\nQuestion: {question}\nAnswer: {answer}"
    return [{"role": "user", "content": content}]


def proposer_messages(
    shots: Sequence[str], style: PromptStyle, asks: Sequence[str] = ()
) -> Messages:
    """Build the few-shot request: a numbered list of `shots` whose next number is left open.

    `asks` say what each new one must do, where earlier ones did not. Source: SeRL,
    arXiv 2505.20347, "self-instruction"; the texts are our own.
    """
    lines = [style.fill(style.proposer_request)] if style.proposer_request else []
    lines += [f"{number}. {shot}" for number, shot in enumerate(shots, start=1)]
    # The open number, on which the reading of the answers counts.
    lines.append(f"{len(shots) + 1}.")
    retry = RETRY_REQUEST.replace("{asks}", "; ".join(asks)) if asks else ""
    system = "\n".join(filter(None, (style.fill(style.proposer_system), retry)))
    return _system(system) + [{"role": "user", "content": "\n".join(lines)}]


def answer_first_messages(shots: Sequence[str], style: PromptStyle) -> Messages:
    """Build the few-shot request for a solution with its answer, and then the problem it solves.

    Where the style has a `task_template`, `{question}` is replaced by it.
    """
    question = style.task_template.replace(PLACEHOLDER, "...")
    system = style.answer_first_system.replace("{question}", question)
    return proposer_messages(shots, replace(style, proposer_system=system))


def _system(text: str) -> Messages:
    return [{"role": "system", "content": text}] if text else []
