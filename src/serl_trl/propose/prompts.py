"""Every text the policy is shown: one place for rollouts, evaluation and proposing."""

from collections.abc import Sequence
from dataclasses import dataclass

from serl_trl.common.completion import Messages

PLACEHOLDER = "{instruction}"
"""Where a `task_template` takes the text that it asks about."""


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
    rollout_system: str = ""
    answer_instruction: str = "Reason step by step and write the final answer inside \\boxed{}."
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
)
"""What the proposer is told where instructions are texts and nothing else was chosen."""


def rollout_messages(instruction: str, style: PromptStyle) -> Messages:
    """Build the conversation whose completion is rolled out, or graded in evaluation."""
    # Nothing is replaced once the instruction stands in: a text may hold braces of its own.
    parts = [style.task_template.replace(PLACEHOLDER, instruction)]
    if not style.task_template:
        parts = [instruction, style.fill(style.answer_instruction)]
    user = {"role": "user", "content": "\n".join(part for part in parts if part)}
    return _system(style.fill(style.rollout_system)) + [user]


def proposer_messages(shots: Sequence[str], style: PromptStyle) -> Messages:
    """Build the few-shot request: a numbered list of `shots` whose next number is left open.

    Source: SeRL, arXiv 2505.20347, "self-instruction"; the texts are our own.
    """
    lines = [style.fill(style.proposer_request)] if style.proposer_request else []
    lines += [f"{number}. {shot}" for number, shot in enumerate(shots, start=1)]
    # The open number, on which the reading of the answers counts.
    lines.append(f"{len(shots) + 1}.")
    return _system(style.fill(style.proposer_system)) + [
        {"role": "user", "content": "\n".join(lines)}
    ]


def _system(text: str) -> Messages:
    return [{"role": "system", "content": text}] if text else []
