"""The sandbox's kinds of problem, read from `phrasings.yaml`, which explains their fields."""

from dataclasses import dataclass

from serl_trl.common.plain_yaml import own_table


@dataclass(frozen=True)
class Kind:
    """One kind of problem: its equations, the range of each number, and its texts with slots."""

    name: str
    steps: tuple[str, ...]
    ranges: dict[str, range]
    slip_rate: float
    phrasings: tuple[str, ...]


def _load_kinds() -> tuple[Kind, ...]:
    rows = own_table(__file__)
    return tuple(
        Kind(
            name=row["name"],
            steps=tuple(row["steps"]),
            ranges={name: range(*bounds) for name, bounds in row["ranges"].items()},
            slip_rate=row["slip_rate"],
            phrasings=tuple(row["phrasings"].splitlines()),
        )
        for row in rows
    )


KINDS = _load_kinds()
