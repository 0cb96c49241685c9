"""The sandbox's kinds of problem: what is computed, from which numbers, and in which words.

A phrasing holds slots: `{a}` to `{d}` are the numbers, any other slot is one word of the family it
names (`lexicon.FAMILIES`). A trailing digit asks for another word of that family, and `{friend}` is
a second name. No slot occurs twice in a phrasing: a problem makes sense whatever words are drawn, so
that a model too small to copy words can still write one.
"""

# ruff: noqa: E501 - one phrasing a line: they are read and compared as whole texts

from dataclasses import dataclass


@dataclass(frozen=True)
class Kind:
    """One kind of problem.

    `steps` are equations over the numbers and over the results x, y, z of earlier steps, in order.
    `ranges` holds the values each number is drawn from. `slip_rate` is the share of steps, in [0, 1],
    that are wrong in the pretraining corpus: it makes the kinds differ in difficulty.
    """

    name: str
    steps: tuple[str, ...]
    ranges: dict[str, range]
    slip_rate: float
    phrasings: tuple[str, ...]


_SMALL = range(2, 21)
_TABLE = range(2, 13)
_DIGIT = range(2, 10)
_LOW = range(2, 8)

KINDS: tuple[Kind, ...] = (
    Kind(
        name="add",
        steps=("a + b = x",),
        ranges={"a": _SMALL, "b": _SMALL},
        slip_rate=0.06,
        phrasings=(
            "On {day} {time}, {name} {got} {a} {look} {thing} near the {mood} {place} and {manner} {got2} {b} more of them. How many is that altogether?",
            "{name} keeps {a} {color} {thing} inside the {mood} {place}. {friend} the {role} {manner} brings {b} {look} ones from {city}. What is the total number?",
            "How many {thing} are there in all when {a} {look} ones from {city} join {b} {color} ones at the {mood} {place} one {month} {time}?",
            "The {mood} {role} from {city} {got} {a} {thing} before {time}, and {name} {manner} {got2} {b} {color} ones during {month}. Find how many they have together.",
            "Inside the {mood} {place} {name} counts {b} {color} {thing}; behind it {friend} counts another {a} {look} ones. Together, how many did the two count?",
            "There were {a} {look} {thing} on {name}'s shelf last {month}. This {day} the {mood} {place} {manner} sent {b} extra. How many are there now?",
            "Last {day} {name} {manner} {got} {a} {thing}, while {friend} from {city} {got2} {b}, all {color}. Adding both piles, how many do we get?",
            "The {city} {place} lists {a} {color} {thing} in {month} plus {b} {look} ones in {month2}. Work out the sum for {name} the {role}.",
        ),
    ),
    Kind(
        name="subtract",
        steps=("a - b = x",),
        ranges={"a": range(5, 31), "b": _SMALL},
        slip_rate=0.08,
        phrasings=(
            "{name} {got} {a} {look} {thing} in {city} last {month}. On {day} {time} {friend} {manner} {lost} {b} of them. How many remain?",
            "The {mood} {place} had {a} {color} {thing}. After {name} the {role} {manner} {lost} {b} of them on {day} {time}, how many were left?",
            "How many {thing} stay on the {look} shelf if {name} puts {a} {color} ones there and {friend} takes {b} of them to {city} by {time}?",
            "Out of {a} {look} {thing} that {name} {manner} {got} at the {mood} {place}, exactly {b} were {color} and broken. Find the number of unbroken ones.",
            "One {month} {time}, {name} packed {a} {color} {thing} for {city}. Sadly {b} of them got {lost} near the {mood} {place}. How many arrived?",
            "Yesterday's {place} list in {city} showed {a} {look} {thing}; today {b} fewer are {manner} written there, says {name} the {role}. What number does today's list show?",
            "{friend} wants {b} of the {a} {color} {look} {thing} that {name} {manner} {got} on {day}. If that is agreed, how many will {city} keep?",
            "From the {role}'s pile of {a} {look} {thing}, the {mood} {kin} in {city} {lost} {b} during {month}. Count what is still in that pile.",
        ),
    ),
    Kind(
        name="multiply",
        steps=("a * b = x",),
        ranges={"a": _TABLE, "b": _TABLE},
        slip_rate=0.17,
        phrasings=(
            "{name} carries {a} {color} {box} to the {mood} {place} on {day}. Every one holds {b} {look} {thing}. How many {manner} arrive in all?",
            "At the {place} in {city}, {a} {look} shelves stand by the door, each with {b} {color} {thing} that {name} {manner} {got}. Find the total.",
            "How many {thing} does the {role} need for {a} {look} {box} if {b} {color} ones go into each of them before {day} {time}?",
            "Each {day} in {month} the {mood} {role} {manner} {got} {b} {look} {thing}. After {a} such days, how many is that altogether?",
            "{friend} and {name} set out {a} rows at the {mood} {place}. With {b} {color} {thing} in each row by {time}, what is their number?",
            "There are {b} {look} {thing} in one pack, and {name} from {city} {manner} {got} {a} packs last {month}. How many are in all the packs?",
            "Exactly {a} {mood} {people} visit {city} one {time}; {name} the {role} gives each of them {b} {color} {thing}. How many are given out?",
            "The {color} machine in the {place} makes {b} {look} {thing} per minute. {name} {manner} runs it for {a} minutes on {day}. How many come out?",
        ),
    ),
    Kind(
        name="divide",
        steps=("a / b = x",),
        ranges={"a": range(4, 145), "b": _TABLE},
        slip_rate=0.2,
        phrasings=(
            "{name} {manner} splits {a} {look} {thing} equally among {b} {mood} {people} at the {place} in {city}. How many does each one get?",
            "The {role} {got} {a} {color} {thing} on {day} {time} and packs them into {look} {box} of {b} each. How many of these are filled?",
            "How many {look} {box} will {name} need to hold {a} {color} {thing} when each takes exactly {b} of them, asks the {role} of {city}?",
            "In {month} {name} {manner} lines up {a} {look} {thing} in {b} equal rows beside the {mood} {place}. Find the number in every row.",
            "Helpers number {b} at the {mood} {place}. {name} {manner} hands out {a} {color} {thing} evenly to these helpers on {day}. What is one helper's share?",
            "A total of {a} {look} {thing} {manner} arrived in {city} last {day}, packed evenly in {b} {color} {box}. How many were in one of those?",
            "If {name} uses {b} {color} {thing} every {day} {time}, for how many weeks will {a} {look} ones from the {mood} {place} last?",
            "With {a} {thing} to give away, {name} the {role} of {city} {manner} makes {look} bundles of {b} each. Count the bundles made by {time}.",
        ),
    ),
    Kind(
        name="add_subtract",
        steps=("a + b = x", "x - c = y"),
        ranges={"a": _SMALL, "b": _SMALL, "c": _SMALL},
        slip_rate=0.11,
        phrasings=(
            "{name} had {a} {look} {thing}. On {day} {friend} brought {b} more from {city}, but {c} were {manner} {lost} by {time}. How many are left?",
            "The {mood} {place} stored {a} {color} {thing} and {got} {b} others in {month}. Then the {role} {manner} {lost} {c}. How many remain there?",
            "How many {thing} does {name} have after starting with {a} {look} ones, receiving {b} at the {mood} {place} and {manner} handing {c} to {friend}?",
            "Before {time} {name} {got} {a} {thing} and {friend} {got2} {b}. Together they {lost} {c} near the {mood} {place} of {city}. Find how many remain.",
            "The {color} {ride} left {city} on {day} with {a} {people}. At the {mood} {place} {b} more got on and {c} got off. How many ride on?",
            "Into the {look} basket go {a} {color} {thing} from {name} and {b} more from {friend}; out come {c} for the {mood} {role}. How many stay inside?",
            "{name} says: the {place} in {city} had {a} {look} {thing} last {month}, {b} were {manner} added, later {c} got {lost}. What is the count now?",
            "On {day} {c} of the {look} {thing} were {lost}, though {name} had {manner} {got} {a} in {city} and {b} in {city2}. How many survived?",
        ),
    ),
    Kind(
        name="multiply_add",
        steps=("a * b = x", "x + c = y"),
        ranges={"a": _DIGIT, "b": _DIGIT, "c": _SMALL},
        slip_rate=0.17,
        phrasings=(
            "{name} owns {a} {color} {box} with {b} {look} {thing} in each, plus {c} loose ones from the {mood} {place}. How many is that altogether?",
            "At the {place} of {city} there are {a} rows of {b} {color} {thing}. On {day} {name} {manner} adds {c} more. What is the total number?",
            "The {mood} {role} {got} {b} {look} {thing} on each of {a} days, then {c} more on {day} {time}. How many were {manner} collected?",
            "How many {thing} are in the {mood} {place} if {c} {color} ones lie on the floor and {a} {look} {box} hold {b} each, as {name} noted?",
            "Besides {c} {look} {thing} of their own, {name} and {friend} were {manner} given {b} by each of {a} {people} in {city}. Find their number.",
            "{name} saved {c} {unit} before {month}. Working at the {mood} {place} as {role}, another {b} came in per week for {a} weeks. How many are saved altogether?",
            "Each of the {a} {mood} {people} brings {b} {thing} to {city} on {day}; the {role} {manner} supplies {c} extra. Altogether, how many are there?",
            "First {name} fills {a} {look} {box} by {time}, putting {b} {color} {thing} in each. Then {c} are left over in the {place}. How many existed?",
        ),
    ),
    Kind(
        name="multiply_subtract",
        steps=("a * b = x", "x - c = y"),
        ranges={"a": _DIGIT, "b": _DIGIT, "c": _SMALL},
        slip_rate=0.19,
        phrasings=(
            "{name} {got} {a} {look} {box} of {b} {thing} each in {city}. On {day} {time} {c} of them were {lost}. How many are still there?",
            "The {mood} {place} opens {a} {color} {box}, each with {b} {thing}. The {role} {manner} throws away {c} bad ones. How many good ones are kept?",
            "How many {thing} are left when {name} {manner} removes {c} from {a} rows of {b} {look} ones at the {mood} {place} before {time}?",
            "In {month} {a} {people} gave {b} {color} {thing} apiece to {name}, who {manner} {lost} {c} of them near {city}. Find how many were kept.",
            "Except for {c} that the {role} {manner} {lost}, all {thing} from {a} {color} {box} of {b} reached {city} by {time}. How many reached it?",
            "Working {a} days, {name} makes {b} {look} {thing} daily at the {mood} {place}; {friend} takes {c} home to {city}. What number is left?",
            "{name} ordered {b} {color} {thing} for each of {a} {mood} {people}, but {c} of them never came to the {place} on {day}. How many came?",
            "Of the {a} packs with {b} {look} {thing} each that {name} {manner} carried through {city}, {c} single ones got {lost} during {month}. Count the remaining ones.",
        ),
    ),
    Kind(
        name="difference",
        steps=("a - b = x",),
        ranges={"a": range(5, 31), "b": _SMALL},
        slip_rate=0.08,
        phrasings=(
            "{name} {got} {a} {look} {thing} at the {mood} {place}, but {friend} {manner} {got2} only {b}. How many more is the first count than the second?",
            "In {month} the {mood} {role} counted {a} {color} {thing}; in {month2} only {b}. By how many did the count in the {city} {place} fall?",
            "How many fewer {thing} are in {city} than in {city2} if the first has {b} {look} ones and the second has {a}, as {name} {manner} wrote on {day}?",
            "Compare two piles: {name} made one with {b} {color} {thing}, {friend} made one with {a} {look} ones on {day} {time}. What is the difference?",
            "The {mood} {place} holds {a} {look} {thing} while the {place2} near {city} holds {b}. How many extra does the first place hold, {name} wonders?",
            "{name}'s goal is {a} {look} {thing} by {day} {time}. So far {b} {color} ones have been {manner} {got}. How many are still needed?",
            "{friend} has {b} {thing}, which is fewer than the {a} {color} ones of {name} the {role}. Say how many are lacking to match in {month}.",
            "Between {a} {mood} {people} in {city} on {day} and {b} at the {mood2} {place}, what is the gap in number, according to {name}?",
        ),
    ),
    Kind(
        name="more_total",
        steps=("a + b = x", "a + x = y"),
        ranges={"a": _SMALL, "b": _SMALL},
        slip_rate=0.15,
        phrasings=(
            "{name} {manner} {got} {a} {look} {thing}. {friend}, the {role} from {city}, has {b} more than that. How many do they have together?",
            "On {day} {name} {got} {a} {color} {thing} and on {day2} {b} more than before. Over both days in {city}, how many were {manner} {got2}?",
            "How many {thing} are in two {look} {box} if the first holds {a} {color} ones and the second, {manner} filled by {name}, holds {b} more than the first?",
            "The {place} in {city} owns {a} {color} {thing}; the {mood} {place2} owns {b} more than that. Find the total in both, {name} asks.",
            "In {month} {friend} {manner} made {b} more {look} {thing} than {name}, who made {a} at the {mood} {place}. What is the sum of both counts?",
            "There are {a} {people} in the {mood} {place} this {time}, and {b} more than that in the {mood2} {place2}. In both places, how many does {name} see?",
            "Since {friend} beat {name} by {b} {look} {thing} on {day}, and the loser {manner} {got} {a} of them, how many did the pair collect in {city}?",
            "{name} the {role} packs {a} {color} {thing} before {time} and {b} more than that on {day}. How many are packed for {city} altogether?",
        ),
    ),
    Kind(
        name="share_rest",
        steps=("a - b = x", "x / c = y"),
        ranges={"a": range(8, 61), "b": _SMALL, "c": _DIGIT},
        slip_rate=0.27,
        phrasings=(
            "{name} {got} {a} {look} {thing}, {manner} {lost} {b} near {city}, and shares the rest equally among {c} {mood} {people}. How many does each get?",
            "From {a} {color} {thing}, the {mood} {role} keeps {b}. The remaining ones are put equally in {c} {look} {box} at the {place}. How many are in each?",
            "How many {thing} will each of {c} {mood} {people} in {city} receive if {name} sets aside {b} of {a} {look} ones and splits the others evenly on {day}?",
            "At the {mood} {place} {a} {thing} were ready. After {b} of them were {lost}, {name} {manner} packed the rest into {c} equal {box}. Find how many each held.",
            "{friend} takes {b} out of {name}'s {a} {color} {thing}; what is left goes to {c} {mood} {people} in equal parts on {day}. What number has each one?",
            "One {month} {time} {a} {people} came to the {place}. When {b} of them left for {city}, the others formed {c} equal {mood} teams. How many made one team?",
            "Before sharing {a} {look} {thing} fairly among {c} {people}, {name} the {role} {manner} removes {b} {color} ones. How many does every person get?",
            "Minus {b} spoiled ones, the {a} {color} {thing} of {name} fill {c} {look} {box} evenly by {day} {time} in {city}. How many are in each?",
        ),
    ),
    Kind(
        name="total_cost",
        steps=("a * b = x", "c * d = y", "x + y = z"),
        ranges={"a": _LOW, "b": _LOW, "c": _LOW, "d": _LOW},
        slip_rate=0.23,
        phrasings=(
            "{name} buys {a} {look} {thing} at {b} {unit} each and {c} {color} {thing2} at {d} each in {city}. How much is paid in all?",
            "At the {mood} {place} on {day}, {name} takes {a} {thing} for {b} {unit} apiece and {c} {thing2} for {d} apiece. What is the whole bill?",
            "How many {unit} are needed by the {mood} {role} for {a} {look} {thing} priced {b} each plus {c} {color} {thing2} priced {d} each?",
            "In {city} {name} {manner} sold {a} {thing} for {b} {unit} each, then {c} {look} {thing2} for {d} each during {month}. Find how much was earned.",
            "{friend} pays {b} {unit} for each of {a} {color} {thing}, and {name} pays {d} for each of {c} {look} {thing2} by {time}. Together, how much is that?",
            "For the {mood} {place} trip, {a} {people} pay {b} {unit} each and {c} {people2} pay {d} each. What sum does {name} {manner} collect on {day}?",
            "The {role} of {city} orders {a} {box} of {thing} costing {b} {unit} each, also {c} {box2} of {thing2} costing {d} each. Give the full price.",
            "With {a} {thing} at {b} {unit} each and {c} {look} {thing2} at {d} each, what does the {mood} {place} charge {name} on {day} {time}?",
        ),
    ),
    Kind(
        name="change",
        steps=("b * c = x", "a - x = y"),
        ranges={"a": range(50, 101, 50), "b": _DIGIT, "c": _DIGIT},
        slip_rate=0.21,
        phrasings=(
            "{name} buys {b} {look} {thing} at {c} {unit} each in the {mood} {place} and {manner} pays with {a}. How much is given back?",
            "On {day} {name} had {a} {unit}. At the {city} {place} that paid for {b} {color} {look} {thing} at {c} apiece. How much was unspent?",
            "How much change should the {role} give {name} from {a} {unit} for {b} {look} {thing} costing {c} each one {day} {time}?",
            "Each of the {color} {thing} costs {c} {unit}. {name} {manner} takes {b} of them and hands {a} to the {mood} {role}. Find the change.",
            "In {month} {name} saved {a} {unit} for a trip to {city}. After {manner} paying {c} for each of {b} {look} {thing}, how much is left?",
            "Paying {c} {unit} each for {b} {look} {thing} at the {mood} {place}, {name} {manner} puts down {a}. How much comes back by {time}?",
            "{friend} gave {name} {a} {unit} to fetch {b} {color} {thing} from {city}. The {role} charges {c} for each. How much will be returned?",
            "Out of a purse holding {a} {unit}, {name} pays for {b} {look} {thing}, {c} each, at the {mood} {place} on {day}. Count what stays inside.",
        ),
    ),
    Kind(
        name="rate_time",
        steps=("a * b = x", "x * c = y"),
        ranges={"a": _DIGIT, "b": range(2, 8), "c": range(2, 6)},
        slip_rate=0.34,
        phrasings=(
            "{name} {manner} rides {a} {dist} per hour for {b} hours on each of {c} days from the {mood} {place} to {city}. How far is that?",
            "The {color} {ride} from {city} covers {a} {dist} every hour. It {manner} runs {b} hours daily for {c} days in {month}. How far does it get?",
            "How many {thing} can {c} {people} make at the {mood} {place} in {b} hours if each {manner} makes {a} {look} ones per hour on {day}?",
            "At the {place} {c} {color} machines each pack {a} {look} {thing} per minute. {name} lets them run {b} minutes on {day} {time}. Find the number packed.",
            "{name} earns {a} {unit} per hour at the {mood} {place}, working {b} hours on each {day}. After {c} weeks in {city}, how much is earned?",
            "During {month} {c} {mood} {people} read {a} pages an hour for {b} hours each in the {place} of {city}. What is the total, {name} {manner} asks?",
            "The {role} plants {a} {color} {thing} per row, {b} rows per field and {c} fields near {city} by {time}. How many are {manner} planted?",
            "Every hour {name} {got} {a} {look} {thing}. Doing so {b} hours a day for {c} days at the {mood} {place}, how many were {manner} gathered?",
        ),
    ),
    Kind(
        name="age",
        steps=("a + b = x", "x + c = y"),
        ranges={"a": _SMALL, "b": _SMALL, "c": _SMALL},
        slip_rate=0.05,
        phrasings=(
            "{name} the {mood} {role} is {a} years old. {friend} from {city} is {b} years older. What age is the older one {c} years after this {day}?",
            "In {month} {name} turned {a}. The {mood} {kin} in {city} is {b} years older. After {c} more years, how old will that relative be?",
            "How old will {friend} the {mood} {role} be {c} years from this {day}, if {name} of {city} is {a} now and {b} years younger?",
            "Today the {look} {place} in {city} is {a} years old, and the {color} {place2} is {b} years older. Find the age of the second in {c} years.",
            "{friend} was born {b} years before {name}, the {mood} {role}. If the younger is {a} this {month}, what will the older one's age be in {c} years?",
            "Being {b} years older than {name}'s {a} years, the {mood} {kin} {manner} plans for {city} {c} years ahead. How old is that on that {day}?",
            "Suppose {name} is {a} and the {role} of the {mood} {place} is {b} years older. When {c} years pass after {day} {time}, how old is the older?",
            "On {day} {time} {name}'s {kin} is {a} years old; {friend} is {b} years older. What age will the older reach {c} years later in {city}?",
        ),
    ),
    Kind(
        name="leftover",
        steps=("b * c = x", "a - x = y"),
        ranges={"a": range(20, 101, 10), "b": _DIGIT, "c": _DIGIT},
        slip_rate=0.19,
        phrasings=(
            "{name} has {a} {look} {thing} and {manner} fills {b} {color} {box} with {c} each by {day} {time}. How many do not fit in?",
            "The {role} of {city} gives {c} {thing} to each of {b} {mood} {people}. At first there were {a} {look} ones. How many does the giver keep?",
            "How many of {a} {color} {thing} stay in the {mood} {place} after {name} and {friend} carry off {b} {look} {box} holding {c} each?",
            "From a store of {a} {thing}, {name} {manner} uses {c} {look} ones a day at the {place} for {b} days in {month}. Find how many are left.",
            "Last {day} {a} {people} waited at the {mood} {place}. Then {b} {color} buses {manner} took {c} each to {city}. How many were still waiting?",
            "{friend} sets {b} tables with {c} {color} {thing} each for {name}'s {month} party. If {a} of them were {manner} {got}, how many are unused?",
            "Each wall of the {place} needs {c} {look} {thing}, and {name} finishes {b} walls by {time}. Of {a} that were {got} in {city}, how many are spare?",
            "Starting with {a} {unit}, {name} the {role} {manner} spends {c} every {day} at the {mood} {place}. After {b} weeks, how much is not spent?",
        ),
    ),
    Kind(
        name="repack",
        steps=("a * b = x", "x / c = y"),
        ranges={"a": _DIGIT, "b": _DIGIT, "c": _DIGIT},
        slip_rate=0.31,
        phrasings=(
            "{name} empties {a} {look} {box} of {b} {thing} each and {manner} shares all of them equally among {c} {people} in {city}. How many does each get?",
            "The {role} moves {a} rows of {b} {color} {thing} into {look} {box} that take {c} each on {day} {time}. How many of these are filled?",
            "How many {thing} does one person receive when {c} {people} divide {a} {color} {box} with {b} {look} ones each evenly at the {place}, asks {name}?",
            "In {month} {name} {got} {b} {look} {thing} a day for {a} days, then {manner} stacked them in {c} equal piles near the {place}. Find the number per pile.",
            "On {day} {a} {people} each bring {b} {color} {thing} to {city}. {name} {manner} makes bundles of {c} from all of them. How many bundles are there?",
            "{name} earns {b} {unit} per hour for {a} hours at the {mood} {place} and {manner} splits it all equally among {c} {people}. How much reaches each?",
            "Packed as {a} {box} of {b}, the {look} {thing} from {city} are {manner} repacked by {name} in {c} equal {color} crates. What number fills one crate?",
            "If {name} the {role} {manner} turns {a} packs with {b} {thing} each into {look} sets of {c} each by {time}, count the sets made in {city}.",
        ),
    ),
)
