"""What the hard sandbox's model can be asked, as an instruct model could be: five prompt forms.

Two are those of every run: `rollout_messages` and `proposer_messages` with `STYLE`. The other three
are here, in the words the model was pretrained with.
"""

from collections.abc import Sequence

from serl_trl.common.completion import Messages
from serl_trl.propose import prompts
from serl_trl.propose.prompts import rollout_messages
from serl_trl.sandbox.domain import STYLE


def abstain_messages(instruction: str) -> Messages:
    """Ask for a solution with leave to answer `none`."""
    usual = rollout_messages(instruction, STYLE)
    return prompts.asked_anew(usual, instruction, STYLE.abstain_instruction)


def restate_messages(instruction: str) -> Messages:
    """Ask for the same problem in other words; the completion is nothing but the problem."""
    return prompts.restate_messages(instruction, STYLE.restate_instruction)


def answer_first_messages(shots: Sequence[str]) -> Messages:
    """Ask for one solution with its boxed answer, and on the next line the problem it solves."""
    return prompts.answer_first_messages(shots, STYLE)
