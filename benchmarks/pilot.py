"""Pilot votes replayed on finished runs: completions saved, and groups lost that the band keeps.

Each group of a ledger is drawn anew without replacement, so that its first votes are a pilot of the
votes that it had. Tied groups, which no band keeps, count as outside. Usage:

    python benchmarks/pilot.py NAME=RUN/_serl/ledger.jsonl[,LEDGER...] ... [--draws 50] [--seed 0]
        [--json PATH]
"""

import argparse
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from serl_trl.labels.band import in_band
from serl_trl.labels.pilot import landing

BANDS = ((0.2, 0.8), (0.2, 0.9375))
VOTES = (4, 5, 6, 7, 8, 10)
CHANCES = (0.0, 0.05, 0.1, 0.2, 0.4)


@dataclass(frozen=True)
class Row:
    """What a pilot is worth: shares of all completions, of the groups in the band, of all groups.

    `net` is the share saved of what one group in the band costs, lost ones made up for.
    """

    runs: str
    low: float
    high: float
    votes: int
    chance: float
    saved: float
    lost: float
    net: float
    ended: float
    still_open: float


def read_groups(paths: Sequence[Path]) -> list[list[int]]:
    """Return the votes of each finished group: its answers, largest first, then no answer."""
    groups = []
    for path in paths:
        for line in path.read_text(encoding="utf-8").splitlines():
            record = json.loads(line)
            # A group that a pilot has ended has too few votes to be replayed.
            if record["type"] == "group" and not record["reason"].startswith("pilot"):
                votes = sorted(record["answers"].values(), reverse=True)
                groups.append([*votes, record["num_unparsable"]])
    return groups


def kept(group: Sequence[int], low: float, high: float) -> bool:
    """Whether the vote has a majority answer, and the band keeps it."""
    votes = [*group[:-1], 0, 0]
    won = votes[0] >= 2 and votes[0] > votes[1]
    return won and in_band(votes[0] / sum(group), low=low, high=high)


def tops(groups: Sequence[Sequence[int]], votes: int, draws: int, seed: int) -> np.ndarray:
    """Return how often each top count is drawn in a pilot, by group, of shape (N, votes + 1)."""
    rng = np.random.default_rng(seed)
    found = np.zeros((len(groups), votes + 1))
    for row, group in enumerate(groups):
        drawn = rng.multivariate_hypergeometric(group, votes, size=draws)[:, :-1]
        found[row] = np.bincount(drawn.max(axis=1, initial=0), minlength=votes + 1) / draws
    return found


def replay(name: str, groups: Sequence[Sequence[int]], draws: int, seed: int) -> Iterator[Row]:
    size = sum(groups[0])
    for votes in (each for each in VOTES if each < size):
        found = tops(groups, votes, draws, seed)
        for low, high in BANDS:
            inside = np.array([kept(group, low, high) for group in groups])
            chances = [
                landing(top, votes=votes, size=size, low=low, high=high).inside
                for top in range(votes + 1)
            ]
            for chance in CHANCES:
                # The share of its draws in which each group is ended.
                ended = found[:, np.array(chances) <= chance].sum(axis=1)
                saved = float(ended.mean() * (size - votes) / size)
                lost = float(ended[inside].mean())
                yield Row(
                    *(name, low, high, votes, chance, saved, lost),
                    net=1 - (1 - saved) / (1 - lost) if lost < 1 else 0.0,
                    ended=float(ended.mean()),
                    still_open=float(1 - ended[~inside].mean()),
                )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], allow_abbrev=False)
    parser.add_argument("runs", nargs="+", help="NAME=LEDGER[,LEDGER...]")
    parser.add_argument("--draws", type=int, default=50, help="pilots of each group")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, help="write the results there, too")
    args = parser.parse_args()
    rows: list[Row] = []
    for each in args.runs:
        name, _, paths = each.partition("=")
        groups = read_groups([Path(path) for path in paths.split(",")])
        print(f"{name}: {len(groups)} groups")
        rows += replay(name, groups, args.draws, args.seed)
    print("| runs | band | votes | chance | saved | in band lost | net | ended | outside, open |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- | --- |")
    for row in rows:
        shares = (row.saved, row.lost, row.net, row.ended, row.still_open)
        shown = " | ".join(f"{share:.1%}" for share in shares)
        band = f"{row.low:g} to {row.high:g}"
        print(f"| {row.runs} | {band} | {row.votes} | {row.chance:g} | {shown} |")
    if args.json:
        found = [
            {name: round(v, 4) if isinstance(v, float) else v for name, v in asdict(row).items()}
            for row in rows
        ]
        # A row a line, so that a later replay can be compared with it.
        text = ",\n".join(json.dumps(row) for row in found)
        args.json.write_text(f"[\n{text}\n]\n", encoding="utf-8")


if __name__ == "__main__":
    main()
