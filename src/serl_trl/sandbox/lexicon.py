"""The words that fill the slots of the sandbox's problems; every entry is a single word."""


def _words(text: str) -> list[str]:
    return text.split()


NAMES = _words(
    """
    Ada Alan Amara Anton Bella Boris Carla Cedric Chloe Clara Dario Diana Dmitri Elena Elias
    Emma Erik Farah Felix Fiona Gavin Gina Grace Hana Hector Hugo Ida Ines Ivan Jade Jonas Julia
    Kai Karim Kira Lara Leo Liam Lina Lucas Maja Marco Mei Mila Nadia Nils Nina Noah Olga Omar
    Oscar Paula Pedro Priya Quinn Ravi Rosa Ruth Samir Sofia Stefan Tara Theo Uma Vera Viktor
    Wanda Xena Yara Yusuf Zane Zoe
    """
)
CITIES = _words(
    """
    Athens Bergen Berlin Boston Cairo Dakar Delhi Denver Dublin Geneva Havana Jakarta Kyoto
    Lagos Lima Lisbon London Lyon Madrid Malta Milan Mumbai Nairobi Naples Oslo Paris Porto
    Prague Quito Riga Rome Seoul Sofia Sydney Tokyo Toronto Tunis Turin Vienna Warsaw Zagreb
    Zurich
    """
)
THINGS = _words(
    """
    apples badges balloons bananas baskets beads bells blankets blocks books bottles bowls
    bricks brushes buttons candles candies caps cards carrots chairs clocks coats cookies corks
    crayons cups dishes dolls drums eggs envelopes erasers fans feathers figs flags flowers
    flutes forks gems globes gloves grapes hammers hats hooks jackets jewels keys kites knives
    ladders lamps lemons letters magnets mangoes maps marbles masks medals melons mirrors
    muffins mugs nails needles notebooks nuts olives onions oranges paddles pears pebbles
    pencils pens pies pillows plates plums posters potatoes puzzles ribbons rings robots ropes
    rulers scarves seeds shells shirts shoes spoons stamps stickers stones tiles tomatoes toys
    trays tulips umbrellas vases watches whistles
    """
)
BOXES = _words(
    """
    bags barrels bins boxes buckets cabinets cans cartons cases chests containers cupboards
    drawers folders jars packets pails parcels pots pouches sacks satchels trunks tubes tubs
    wagons
    """
)
PEOPLE = _words(
    """
    actors artists athletes boys campers children cousins dancers drivers farmers girls guests
    hikers nurses painters pilots players poets pupils riders runners sailors scouts singers
    soldiers students swimmers teachers tourists visitors
    """
)
ROLES = _words(
    """
    actor artist baker barber butcher captain carpenter chef clerk coach cook dentist doctor
    driver editor engineer farmer florist gardener grocer guard guide hunter judge lawyer
    librarian mason mayor merchant miller nurse painter pilot plumber poet porter potter ranger
    sailor scientist singer smith tailor teacher waiter writer
    """
)
KIN = _words(
    """
    aunt brother cousin daughter father grandfather grandmother mother nephew niece sister son
    stepbrother stepsister twin uncle
    """
)
PLACES = _words(
    """
    airport attic bakery bank barn beach bridge cabin cafe camp castle cave cellar church cinema
    circus clinic dock factory farm fort forest fountain garage garden gym hall harbor hospital
    hotel kitchen lake library lodge mall market mill mine museum office palace park pier pond
    school shop stable stadium station store studio temple theater tower valley village
    warehouse workshop zoo
    """
)
MOODS = _words(
    """
    ancient bright busy calm cheerful clever cold cozy crowded curious dark dusty elegant famous
    friendly gentle grand happy honest humble lively lonely lovely lucky modern noisy old
    patient polite proud quiet shy silent sleepy snowy sunny tidy tired warm wise young
    """
)
LOOKS = _words(
    """
    big broad carved cheap clean curved dry fancy fine flat fresh glossy heavy huge large light
    little long narrow neat new odd plain polished pretty rare rough round sharp shiny short
    simple small smooth soft solid square striped strong tall thick thin tiny wide wooden
    """
)
COLORS = _words(
    """
    amber beige black blue bronze brown copper coral cream crimson golden gray green indigo
    ivory jade lavender magenta maroon olive orange pink purple red ruby scarlet silver tan teal
    turquoise violet white yellow
    """
)
MANNERS = _words(
    """
    bravely briefly calmly carefully cheerfully eagerly easily finally gently gladly gracefully
    happily kindly loudly luckily neatly nicely patiently politely promptly proudly quickly
    quietly safely secretly silently slowly smoothly softly suddenly swiftly wisely
    """
)
DAYS = _words("Monday Tuesday Wednesday Thursday Friday Saturday Sunday")
TIMES = _words("dawn sunrise morning noon midday afternoon sunset dusk evening night midnight")
MONTHS = _words(
    """
    January February March April May June July August September October November December
    """
)
UNITS = _words(
    """
    cents coins crowns dinars dollars euros francs pesos points pounds rupees tickets tokens yen
    """
)
DISTANCES = _words("blocks furlongs kilometers laps leagues meters miles stages yards")
RIDES = _words(
    """
    ambulance bicycle boat bus canoe carriage coach cruiser engine ferry horse jeep lorry
    motorcycle pony rocket scooter ship sled tractor train tram truck van
    """
)
# Verbs decide what is computed. Each past form is its own participle ("he sold 3", "3 got sold").
GAINED = _words(
    """
    bought brought built collected crafted earned fetched found gathered made obtained ordered
    painted picked polished prepared produced purchased received saved secured spotted stored
    won
    """
)
LOST = _words(
    """
    damaged destroyed discarded donated dropped lost mailed misplaced ruined shipped smashed
    sold spoiled swapped traded wasted
    """
)

FAMILIES = {
    "name": NAMES,
    "city": CITIES,
    "thing": THINGS,
    "box": BOXES,
    "people": PEOPLE,
    "role": ROLES,
    "kin": KIN,
    "place": PLACES,
    "mood": MOODS,
    "look": LOOKS,
    "color": COLORS,
    "manner": MANNERS,
    "day": DAYS,
    "time": TIMES,
    "month": MONTHS,
    "unit": UNITS,
    "dist": DISTANCES,
    "ride": RIDES,
    "got": GAINED,
    "lost": LOST,
}
# Only these may not be replaced by other words: another verb may mean another computation.
CLOSED_FAMILIES = frozenset({"got", "lost"})
# Words that change what is computed where a writer puts them in a name's or an adjective's place.
MEANING_WORDS = frozenset(
    _words(
        """
        no none never not zero one two three four five six seven eight nine ten dozen dozens
        half third quarter double twice triple thrice each every few several some more less
        fewer other another extra
        """
    )
)
