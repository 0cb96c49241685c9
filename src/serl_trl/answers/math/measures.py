"""What the words behind a number say: its unit, and what changes the meaning of the number."""

from dataclasses import dataclass
from functools import cached_property


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


def _spelled(table: str) -> dict[str, str]:
    """Every word of a line means its first word."""
    lines = [line.split() for line in table.strip().splitlines()]
    return {word: line[0] for line in lines for word in line}


# Measures are not converted: 2 m and 200 cm are two answers, because a bare 2 may stand for one
# of them only.
_MEASURES = _spelled(
    """
    mm millimeter millimetre 毫米
    cm centimeter centimetre 厘米
    dm decimeter decimetre 分米
    m meter metre 米
    km kilometer kilometre 千米 公里
    nm nanometer nanometre
    in inch inches
    ft foot feet
    yd yard
    mi mile
    mg milligram
    g gram 克
    kg kilogram kilo 千克 公斤
    t tonne
    ton tons 吨
    lb lbs pound
    oz ounce
    ml mL milliliter millilitre 毫升
    cl cL centiliter centilitre
    dl dL deciliter decilitre
    l L liter litre 升
    kl kL kiloliter kilolitre
    gal gallon
    qt quart
    pt pint
    cup cups
    tbsp tablespoon
    tsp teaspoon
    ms millisecond
    s sec second 秒
    min minute mins 分钟
    h hr hour 小时
    d day 天
    wk week 周 星期
    mo month 个月
    yr year 年
    J joule
    kJ kilojoule
    cal calorie
    kcal kilocalorie
    W watt
    kW kilowatt
    kWh
    N newton
    kN kilonewton
    Pa pascal
    kPa kilopascal
    V volt
    A ampere amp
    Hz hertz
    kHz kilohertz
    MHz megahertz
    mol mole
    ° deg degree degrees 度
    °C celsius centigrade
    °F fahrenheit
    K kelvin
    rad radian rads
    rpm
    $ dollar usd buck
    ¢ cent penny pennies
    € euro
    £
    元 yuan
    角 jiao
    acre
    ha hectare
    km/h kmh kph kmph
    mi/h mph
    """
)
_SIDES = _spelled(
    """
    left leftward leftwards
    right rightward rightwards
    win wins won
    lose loses losses lost
    """
)
_SENSES = _spelled(
    """
    increase increases increased increasing
    decrease decreases decreased decreasing
    rise rises rose risen
    fall falls fell fallen
    growth grew grown
    decline declines declined
    drop drops dropped
    reduction reduced
    profit profits
    loss
    gain gains gained
    discount off
    markup
    surplus
    deficit
    BC bc bce
    AD ad ce
    debt owed owes
    credit
    debit
    deposit deposited
    withdrawal withdrawn withdrew
    above
    below beneath
    under underneath
    early earlier
    late later
    before
    after afterwards
    ago
    ahead
    behind
    past
    clockwise cw
    counterclockwise anticlockwise ccw acw
    up upward upwards
    down downward downwards
    inward inwards
    outward outwards
    forward forwards
    backward backwards
    north northward northwards
    south southward southwards
    east eastward eastwards
    west westward westwards
    northeast
    northwest
    southeast
    southwest
    positive
    negative
    more
    less
    fewer
    heavier
    lighter
    taller
    shorter
    longer
    older
    younger
    faster quicker
    slower
    bigger larger greater
    smaller
    higher
    lower
    warmer hotter
    colder cooler
    wider
    narrower
    deeper
    thicker
    thinner
    fast
    slow
    inside
    outside
    upstream
    downstream
    underwater
    overpaid overcharged
    underpaid undercharged
    respectively
    better
    worse
    cheaper
    dearer
    richer
    poorer
    """
)
COMPASS = {"N": "north", "S": "south", "E": "east", "W": "west"}
COMPASS |= {"NE": "northeast", "NW": "northwest", "SE": "southeast", "SW": "southwest"}
_POWERS = {
    "square": 2,
    "sq": 2,
    "squared": 2,
    "平方": 2,
    "cubic": 3,
    "cu": 3,
    "cubed": 3,
    "立方": 3,
}


def sense_of(word: str) -> str | None:
    """How a word changes the meaning of a number; `None` for other words."""
    return _SENSES.get(word.lower())


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
        if (power := _POWERS.get(lower)) is not None:
            if lower in ("squared", "cubed"):
                self.power(power)
            else:
                self.next_power = power
            return True
        if word[:2] in _POWERS:
            self.next_power, word = _POWERS[word[:2]], word[2:]
            lower = word
        if word in COMPASS and (self.measures or self.before.measure):
            self.senses.append(COMPASS[word])
        elif (sense := _SENSES.get(lower)) is not None:
            self.senses.append(sense)
        elif (side := _SIDES.get(lower)) is not None:
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
        if form in _MEASURES and (form == word or len(form) > 1):
            return _MEASURES[form]
    return None


def _singular(word: str) -> str:
    return word[:-1] if word.endswith("s") and len(word) > 3 else word
