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
        # 20 degrees may be 20 degrees Celsius.
        alike = ({self.measure, other.measure}) in ({"°", "°C"}, {"°", "°F"})
        measures_fit = alike or self.measure == other.measure
        return (
            self.sense == other.sense
            and (measures_fit or not self.measure or not other.measure)
            and (self.side == other.side or not self.side or not other.side)
        )


NO_UNIT = Unit()


class UnitWords:
    """Collects the words behind a number, one by one."""

    def __init__(self, before: Unit) -> None:
        self._before = before
        self._measures: list[tuple[str, int]] = []
        self._side, self._senses = before.side, before.sense.split()
        self._nouns: list[str] = []
        self._sign, self._next_power = 1, 1

    def add(self, word: str) -> bool:
        """Take a word; whether it is a unit or changes the meaning."""
        lower = word.lower()
        if lower in POWERS:
            if lower in ("squared", "cubed"):
                self.power(POWERS[lower])
            else:
                self._next_power = POWERS[lower]
            return True
        if word[:2] in POWERS:  # Chinese writes the power and the unit as one word
            self._next_power, lower = POWERS[word[:2]], word[2:]
            word = lower
        if word in COMPASS and (self._measures or self._before.measure):
            self._senses.append(COMPASS[word])
        elif lower in SENSES:
            self._senses.append(SENSES[lower])
        elif lower in SIDES:
            self._side = SIDES[lower]
        else:
            return self._add_measure(word)
        return True

    def divide(self) -> None:
        """What follows stands below the line: per hour."""
        self._sign = -1

    def power(self, exponent: int) -> None:
        """The last unit has an exponent."""
        if self._measures:
            name, power = self._measures[-1]
            self._measures[-1] = (name, power * exponent)

    def unit(self) -> Unit:
        """Everything taken so far."""
        powers: dict[str, int] = {}
        for name, power in self._measures:
            powers[name] = powers.get(name, 0) + power
        # 20° Celsius says degrees twice.
        if len(powers) > 1 and {"°C", "°F"} & powers.keys():
            powers.pop("°", None)
        parts = [name if p == 1 else f"{name}^{p}" for name, p in sorted(powers.items()) if p]
        measure = " ".join(parts) or self._before.measure
        if self._before.measure == "°" and measure in ("C", "F"):
            measure = f"°{measure}"
        senses = " ".join(sorted(set(self._senses)))
        return Unit(measure, self._side, senses, " ".join(self._nouns))

    def _add_measure(self, word: str) -> bool:
        measure = measure_of(word)
        if measure is None:
            word = word.lower()
            # One apple and two apples are of one thing; "gas" is no plural.
            plural = word.endswith("s") and len(word) > 3
            self._nouns.append(word[:-1] if plural else word)
            return False
        for place, part in enumerate(measure.split("/")):
            sign = -self._sign if place else self._sign
            self._measures.append((part, sign * self._next_power))
        self._next_power = 1
        return True


def measure_of(word: str) -> str | None:
    """The unit that a word is a spelling of; `None` for other words."""
    for form in (word, word.lower(), word.lower().removesuffix("s")):
        # Single letters are units in their own case only: m is no M.
        if form in MEASURES and (form == word or len(form) > 1):
            return MEASURES[form]
    return None
