"""Self-play with a scripted policy, for the tests of the loop."""

import random
from dataclasses import replace
from typing import Any

from serl_trl.answers.equality import get_kind
from serl_trl.answers.verifier import Verifier
from serl_trl.common.plugin import Plugin
from serl_trl.filters.gate import ProposalFilter
from serl_trl.labels.band import Band
from serl_trl.labels.registry import find_labeller
from serl_trl.loop.books import Books
from serl_trl.loop.labelling import Labelling
from serl_trl.loop.proposing import Proposing, Stream
from serl_trl.loop.seams import Options
from serl_trl.loop.selfplay import SelfPlay
from serl_trl.propose.pool import InstructionPool
from serl_trl.propose.prompts import PromptStyle
from serl_trl.propose.sources.registry import find_sources

SEEDS = [f"What is the sum of {n} apples and {n + 1} very ripe pears?" for n in range(8)]
OPTIONS = Options(
    use_band=True,
    max_staleness=0,
    max_refill_rounds=5,
    max_refill_rollouts=8,
    max_refill_s=100.0,
    max_rollouts=0,
    num_generations=4,
    prompts_per_batch=4,
    style=PromptStyle(answer_instruction=""),
)
OFFERED = {"num_requests": 2, "num_shots": 3, "num_pool_shots": 1, "shuffle_dataset": False}


class Lines:
    """A ledger in memory."""

    def __init__(self) -> None:
        self.records: list[dict[str, Any]] = []

    def write(self, record: dict[str, Any]) -> None:
        self.records.append(record)

    def of(self, kind: str) -> list[dict[str, Any]]:
        return [record for record in self.records if record["type"] == kind]


def make(policy: Any, ledger: Lines | None = None, **changes: Any) -> SelfPlay:
    clock = changes.pop("clock", lambda: 0.0)
    golds, oracle = changes.pop("golds", {}), changes.pop("oracle", None)
    verifier = changes.pop("verifier", None) or Verifier()
    labeller = changes.pop("labeller", None) or find_labeller(changes.pop("label_reward", "vote"))
    labeller = labeller.make() if isinstance(labeller, Plugin) else labeller
    sources = changes.pop("sources", ["few_shot"])
    offered = OFFERED | {name: changes.pop(name) for name in OFFERED & changes.keys()}
    options = replace(OPTIONS, **changes)
    books, rng = Books(ledger or Lines()), random.Random(0)
    labelling = Labelling(
        Band(labeller, 0.2, 0.8) if options.use_band else labeller,
        kind=get_kind("math"),
        verifier=verifier,
        policy=policy,
        books=books,
        rng=rng,
    )
    labelling.golds, labelling.oracle = golds, oracle
    named = [each for each in sources if not isinstance(each, Stream)]
    streams = [each for each in sources if isinstance(each, Stream)]
    for each in find_sources(named) if named else ():
        source = each.source.make({**offered, "style": options.style})
        streams.append(Stream(source, each.share, name=each.name))
    proposing = Proposing(
        streams,
        pool=InstructionPool(SEEDS),
        proposal_filter=ProposalFilter(SEEDS, max_per_template=None),
        policy=policy,
        books=books,
        rng=rng,
        spare=options.use_band,
    )
    selfplay = SelfPlay(options, proposing, labelling, policy=policy, books=books, rng=rng)
    selfplay.clock = clock
    return selfplay
