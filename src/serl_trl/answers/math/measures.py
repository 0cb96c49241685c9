"""What the words behind a number say: its unit, and what changes the meaning of the number."""

from dataclasses import dataclass
from functools import cached_property

from serl_trl.answers.math.vocabulary import COMPASS, MEASURES, POWERS, SENSES, SIDES


@dataclass(frozen=True)
class Unit:
    """The words behind a number.

    `measure` (`cm^2`) and `side` (`left`) count only against another of their sort; `sense`
    (`below`) always counts; `noun` only tells the quantities of one answer apart.
    """

    measure: str = ""
    side: str = ""
    sense: str = ""
    noun: str = ""

    @cached_property
    def text(self) -> str:
        """What counts, as it stands in a canonical form."""
        return " ".join(part for part in (self.measure, self.side, self.sense) if part)

    @property
    def name(self) -> str:
        """What tells this quantity from others in one answer: hours, apples."""
        return self.text or self.noun

    def fits(self, other: "Unit") -> bool:
        """Whether two numbers with these units may be one: nothing contradicts."""
        return (
            self.sense == other.sense
            and _fit(self.measure, other.measure)
            and (not self.side or not other.side or self.side == other.side)
        )


NO_UNIT = Unit()


def _fit(left: str, right: str) -> bool:
    degrees = {left, right}
    # 20 degrees may be 20 degrees Celsius.
    return not left or not right or left == right or degrees in ({"°", "°C"}, {"°", "°F"})


def sense_of(word: str) -> str | None:
    """How a word changes the meaning of a number; `None` for other words."""
    return SENSES.get(word.lower())


class UnitReader:
    """Collects the words behind a number, one by one."""

    def __init__(self, before: Unit) -> None:
        self.before = before
        self.measures: list[tuple[str, int]] = []
        self.side, self.senses, self.nouns = before.side, before.sense.split(), []
        self.sign, self.next_power = 1, 1

    def word(self, word: str) -> bool:
        """Take a word; whether it is a unit or changes the meaning."""
        lower = word.lower()
        if (power := POWERS.get(lower)) is not None:
            if lower in ("squared", "cubed"):
                self.power(power)
            else:
                self.next_power = power
            return True
        if word[:2] in POWERS:
            self.next_power, word = POWERS[word[:2]], word[2:]
            lower = word
        if word in COMPASS and (self.measures or self.before.measure):
            self.senses.append(COMPASS[word])
        elif (sense := SENSES.get(lower)) is not None:
            self.senses.append(sense)
        elif (side := SIDES.get(lower)) is not None:
            self.side = side
        elif (measure := measure_of(word)) is not None:
            for place, part in enumerate(measure.split("/")):
                self.measures.append((part, (-self.sign if place else self.sign) * self.next_power))
            self.next_power = 1
        else:
            self.nouns.append(_singular(lower))
            return False
        return True

    def divide(self) -> None:
        """What follows stands below the line: per hour."""
        self.sign = -1

    def power(self, exponent: int) -> None:
        """The last unit has an exponent."""
        if self.measures:
            name, power = self.measures[-1]
            self.measures[-1] = (name, power * exponent)

    def unit(self) -> Unit:
        """Everything taken so far."""
        powers: dict[str, int] = {}
        for name, power in self.measures:
            powers[name] = powers.get(name, 0) + power
        if len(powers) > 1 and {"°C", "°F"} & powers.keys():
            powers.pop("°", None)
        parts = [name if p == 1 else f"{name}^{p}" for name, p in sorted(powers.items()) if p]
        measure = " ".join(parts) or self.before.measure
        if self.before.measure == "°" and measure in ("C", "F"):
            measure = f"°{measure}"
        senses = " ".join(sorted(set(self.senses)))
        return Unit(measure, self.side, senses, " ".join(self.nouns))


def measure_of(word: str) -> str | None:
    """The unit that a word is a spelling of; `None` for other words."""
    for form in (word, word.lower(), word.lower().removesuffix("s")):
        # Single letters are units in their own case only: m is no M.
        if form in MEASURES and (form == word or len(form) > 1):
            return MEASURES[form]
    return None


def _singular(word: str) -> str:
    return word[:-1] if word.endswith("s") and len(word) > 3 else word
