"""Self-play reinforcement learning for language models with limited data, on top of TRL."""

import importlib
from typing import TYPE_CHECKING, Any

from serl_trl._version import __version__
from serl_trl.common.quiet import withhold_import_notices

if TYPE_CHECKING:
    from serl_trl.answers.equality import extract_answer, same_answer
    from serl_trl.answers.kinds.own import OwnKind
    from serl_trl.answers.voting import majority_vote
    from serl_trl.cli.build import trainer_from_config
    from serl_trl.common.verdict import Verdict
    from serl_trl.labels.base import Labeller
    from serl_trl.labels.trl_reward import MajorityVoteReward
    from serl_trl.measure.session import evaluate_benchmarks
    from serl_trl.propose.pool import InstructionPool
    from serl_trl.propose.sources.base import TaskSource
    from serl_trl.train.config import SeRLConfig
    from serl_trl.train.trainer import SeRLTrainer

__all__ = [
    "SeRLTrainer",
    "SeRLConfig",
    "InstructionPool",
    "Labeller",
    "TaskSource",
    "OwnKind",
    "Verdict",
    "MajorityVoteReward",
    "extract_answer",
    "same_answer",
    "majority_vote",
    "evaluate_benchmarks",
    "trainer_from_config",
    "__version__",
]

_HOMES = {
    "SeRLTrainer": "serl_trl.train.trainer",
    "SeRLConfig": "serl_trl.train.config",
    "InstructionPool": "serl_trl.propose.pool",
    "Labeller": "serl_trl.labels.base",
    "TaskSource": "serl_trl.propose.sources.base",
    "OwnKind": "serl_trl.answers",
    "Verdict": "serl_trl.common.verdict",
    "MajorityVoteReward": "serl_trl.labels",
    "extract_answer": "serl_trl.answers",
    "same_answer": "serl_trl.answers",
    "majority_vote": "serl_trl.answers.voting",
    "evaluate_benchmarks": "serl_trl.measure.session",
    "trainer_from_config": "serl_trl.cli.build",
}


withhold_import_notices()


def __getattr__(name: str) -> Any:
    # Loaded at first use: `import serl_trl` costs neither torch nor TRL.
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
