"""The instruction pool: the seed set, what was accepted since, and which of them were shown."""

import hashlib
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Shots:
    """Examples for one request; `origins` names each text's place, as "seed:12" or "pool:34"."""

    texts: tuple[str, ...]
    origins: tuple[str, ...]

    def without_longest(self) -> "Shots":
        """Return the shots but for the longest; of equally long ones, the first goes."""
        out = max(range(len(self.texts)), key=lambda place: len(self.texts[place]))
        keep = [place for place in range(len(self.texts)) if place != out]
        return Shots(
            tuple(self.texts[place] for place in keep),
            tuple(self.origins[place] for place in keep),
        )


class InstructionPool:
    """The seed set and the accepted proposals, with a count of how often each was shown."""

    def __init__(self, seeds: Sequence[str]) -> None:
        self.seeds = tuple(seeds)
        self.accepted: list[str] = []
        self._uses: Counter[str] = Counter()

    def __len__(self) -> int:
        return len(self.seeds) + len(self.accepted)

    def add(self, text: str) -> None:
        """Accept `text` into the pool."""
        self.accepted.append(text)

    def reset(self) -> None:
        """Drop the accepted proposals and how often they were shown: a new iteration begins."""
        self.accepted = []
        # "pool:0" will be another text; the seeds stay, and so does how often they were shown.
        self._uses = Counter({k: n for k, n in self._uses.items() if k.startswith("seed:")})

    def draw_shots(
        self,
        rng: random.Random,
        *,
        num_shots: int,
        num_pool_shots: int,
        prefer_least_used: bool = False,
    ) -> Shots:
        """Draw `num_shots` texts without repeats, shuffled: up to `num_pool_shots` accepted ones.

        The others are seeds. Fewer come back when the pool holds fewer. `prefer_least_used` takes
        the seeds shown least often so far (see `mark_shown`), in random order among equals.
        """
        order = rng.sample(range(len(self.seeds)), len(self.seeds))
        if prefer_least_used:
            order.sort(key=lambda number: self._uses[f"seed:{number}"])
        most = min(num_pool_shots, num_shots, len(self.accepted))
        recent = rng.sample(range(len(self.accepted)), most)
        # By text: equal seeds, or a proposal equal to a seed, are one example.
        drawn: dict[str, str] = {}
        for number in recent:
            drawn.setdefault(self.accepted[number], f"pool:{number}")
        for number in order:
            if len(drawn) >= num_shots:
                break
            drawn.setdefault(self.seeds[number], f"seed:{number}")
        pairs = list(drawn.items())
        rng.shuffle(pairs)
        return Shots(tuple(text for text, _ in pairs), tuple(origin for _, origin in pairs))

    def mark_shown(self, shots: Shots) -> None:
        """Count one use of each of `shots`."""
        self._uses.update(shots.origins)

    @property
    def shown(self) -> frozenset[str]:
        """The origins of all texts that were shown at least once."""
        return frozenset(self._uses)

    def state_dict(self) -> dict:
        """Return the accepted texts, the uses, and a digest of the seeds they belong to."""
        return {
            "seeds_sha256": _fingerprint(self.seeds),
            "accepted": list(self.accepted),
            "uses": dict(self._uses),
        }

    def load_state_dict(self, state: dict) -> None:
        """Restore `state`.

        Raises:
            ValueError: the state was saved with other seeds.
        """
        if state["seeds_sha256"] != _fingerprint(self.seeds):
            raise ValueError(
                f"The saved pool belongs to other seeds than these {len(self.seeds)}; resume with "
                "the seed set the run began with, or start a new run."
            )
        self.reset()
        for text in state["accepted"]:
            self.add(text)
        # After `reset`, which drops the uses of the pool's texts.
        self._uses = Counter(state["uses"])


def _fingerprint(seeds: Sequence[str]) -> str:
    digest = hashlib.sha256()
    for seed in seeds:
        data = seed.encode("utf-8", "surrogatepass")
        # With its length, so that no two lists of texts join to the same bytes.
        digest.update(len(data).to_bytes(8, "big") + data)
    return digest.hexdigest()
