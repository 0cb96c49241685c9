"""The labellers by name."""

from collections.abc import Collection, Mapping
from typing import Any

from serl_trl.common.plugin import Plugin, Role, find, is_path
from serl_trl.labels.asymmetric_vote import AsymmetricVote
from serl_trl.labels.base import NEEDS, PROVIDED, Labeller, Teacher, teacher_in
from serl_trl.labels.certainty import Certainty
from serl_trl.labels.dual import Dual
from serl_trl.labels.gold import Gold
from serl_trl.labels.judge import Judge
from serl_trl.labels.margin_vote import MarginVote
from serl_trl.labels.none import NoLabel
from serl_trl.labels.novelty_vote import NoveltyVote
from serl_trl.labels.paraphrase_vote import ParaphraseVote
from serl_trl.labels.random import Coin
from serl_trl.labels.soft_vote import SoftVote
from serl_trl.labels.teacher_vote import TeacherVote
from serl_trl.labels.two_view import TwoView
from serl_trl.labels.verified_vote import VerifiedVote
from serl_trl.labels.vote import MajorityVote
from serl_trl.labels.weighted_vote import WeightedVote
from serl_trl.labels.wide_vote import WideVote
from serl_trl.propose.sources.registry import rewards_by_gold

LABELLERS: dict[str, type[Labeller]] = {
    "vote": MajorityVote,
    "soft_vote": SoftVote,
    "margin_vote": MarginVote,
    "weighted_vote": WeightedVote,
    "asymmetric_vote": AsymmetricVote,
    "novelty_vote": NoveltyVote,
    "wide_vote": WideVote,
    "two_view": TwoView,
    "paraphrase_vote": ParaphraseVote,
    "teacher_vote": TeacherVote,
    "verified_vote": VerifiedVote,
    "judge": Judge,
    "dual": Dual,
    "certainty": Certainty,
    "gold": Gold,
    "random": Coin,
    "none": NoLabel,
}
"""The labellers of this package. A new one is a file beside these and a row here."""

_ROLE = Role(
    option="label_reward",
    takes="a labeller (a subclass of serl_trl.Labeller)",
    known=LABELLERS,
    methods=("label", "state_dict", "load_state_dict"),
    makes=True,
)


def find_labeller(text: str, plugins: Collection[str] = ()) -> Plugin:
    """Return the labeller that `text` names, as `name` or `my_package.module.Class(option=value)`.

    Calls nothing. Raises `ValueError` for an unknown name, and for one that needs what this version
    does not compute.
    """
    plugin = find(text, _ROLE, plugins)
    # Read off the class: no labeller has been made yet.
    missing = sorted(frozenset(getattr(plugin.found, "needs", ())) - PROVIDED)
    if missing:
        known = "is not computed by this version" if missing[0] in NEEDS else "is unknown"
        raise ValueError(
            f"label_reward={text} needs {missing[0]}, which {known}; a labeller may need "
            f"{', '.join(sorted(PROVIDED))}."
        )
    return plugin


def reward_name(text: str) -> str:
    """Return the name under which TRL logs the rewards of a labeller: without path and options."""
    return f"{text.partition('(')[0].rpartition('.')[2]}_reward"


def known_labeller(text: object) -> type[Labeller]:
    """Return the labeller of this package that `text` names, or `Labeller` for any other.

    Reads and calls nothing, so that `text` may come from a stranger's run.
    """
    return LABELLERS.get(str(text).partition("(")[0], Labeller)


def extra_rollouts(text: object, group_size: int) -> int:
    """Return what a labeller of this package samples beside a group; 0 for any other.

    Calls nothing of a plug-in. A labeller that does not exist is refused elsewhere.
    """
    if is_path(str(text)):
        return 0
    return find_labeller(str(text)).make().extra_rollouts(group_size)


def teacher_of(text: object) -> Teacher | None:
    """Return whom a labeller of this package asks beside the policy, if anyone.

    Calls nothing of a plug-in. `None` for a labeller that does not exist, too.
    """
    try:
        made = None if is_path(str(text)) else find_labeller(str(text)).make()
    except (ValueError, TypeError):
        # Refused elsewhere, with the reason.
        return None
    return None if made is None else teacher_in(made)


def meaning_of(config: Mapping[str, Any]) -> str:
    """Return what the labels of a run are, in sentences; its `config` may be a stranger's."""
    meaning = known_labeller(config.get("label_reward")).meaning
    if rewards_by_gold(config.get("sources")):
        meaning += " Rows of labelled_set are rewarded by their gold answers instead."
    return meaning


def known_needs(text: object) -> frozenset[str]:
    """Return what a labeller of this package asks for; nothing for any other."""
    return frozenset(getattr(known_labeller(text), "needs", ()))
