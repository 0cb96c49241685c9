"""What the shape of a vote says of a question: two camps speak for "broken", scatter for "hard".

Votes come as a `Vote`, or as its counts.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from serl_trl.filters.validity.sign import NO_SIGN, Sign, add_up

# A camp: at least two votes, and this share of all. Two of 16 completions err alike by chance.
_MIN_CAMP_VOTES, _MIN_CAMP_SHARE = 2, 0.15


@dataclass(frozen=True)
class VoteShape:
    """The shape of one vote, as shares of all completions in [0, 1].

    `majority` and `runner_up` are the two largest classes, `margin` the lead of the first,
    `tail` the completions whose answer nobody shares, `unparsable` those without an answer.
    `num_camps` counts classes of at least two votes and 15 % of all.
    """

    majority: float
    runner_up: float
    margin: float
    tail: float
    unparsable: float
    num_camps: int

    @property
    def agreement(self) -> float:
        """The share of the largest class in the completions with an answer; 0 without any.

        Those without one tell of the model's form, and not of the question.
        """
        return self.majority / (1 - self.unparsable) if self.majority else 0.0


def shape_of(counts: Sequence[int], num_unparsable: int = 0) -> VoteShape:
    """Return the shape of a vote with classes of these sizes, in any order; all 0 without votes."""
    sizes = sorted(counts, reverse=True)
    group_size = max(sum(sizes) + num_unparsable, 1)
    majority, runner_up = (size / group_size for size in [*sizes, 0, 0][:2])
    return VoteShape(
        majority=majority,
        runner_up=runner_up,
        margin=majority - runner_up,
        tail=sum(size == 1 for size in sizes) / group_size,
        unparsable=num_unparsable / group_size,
        num_camps=sum(size >= max(_MIN_CAMP_VOTES, _MIN_CAMP_SHARE * group_size) for size in sizes),
    )


def vote_shape(shape: VoteShape) -> Sign:
    """Say how likely a question with a vote of this shape is broken.

    Two camps: the size of the second against the first, less what is scattered, because scatter
    speaks for a hard question. Answers that cannot be read add up with that.
    """
    signs = [Sign(shape.unparsable, f"{shape.unparsable:.0%} unparsable")]
    if shape.num_camps > 1:
        split = shape.runner_up / shape.majority * (1 - shape.tail)
        signs.append(Sign(split, f"{shape.majority:.0%} against {shape.runner_up:.0%}"))
    total = add_up(signs)
    return total if total.score else NO_SIGN
