"""Made-up facts about people, places and numbers: no encoder can know which of them were told."""

import random
from collections.abc import Sequence
from typing import NamedTuple

_FIRST = ("Ada", "Boris", "Chiara", "Dmitri", "Elif", "Farid", "Greta", "Hugo", "Ines", "Jonas", "Kenji", "Lucia")
_FIRST_MORE = ("Maren", "Noor", "Olga", "Pavel", "Quinn", "Rosa", "Samir", "Tove", "Umar", "Vera", "Wanda", "Yusuf")
_START = (
    "Bran",
    "Cal",
    "Dor",
    "Fen",
    "Gal",
    "Har",
    "Kel",
    "Lin",
    "Mor",
    "Nor",
    "Pel",
    "Ros",
    "Sal",
    "Tor",
    "Vel",
    "Win",
)
_MIDDLE = ("a", "e", "i", "o", "der", "min", "tan", "ver")
_PERSON_END = ("berg", "ford", "kova", "land", "mann", "sen", "son", "ti")
_PLACE_END = ("bridge", "burg", "dale", "field", "haven", "mouth", "ton", "wick")
_THINGS = ("bakery", "boat", "bookshop", "cello", "clock", "garden", "lighthouse", "mill", "orchard", "printing press")
_THINGS_MORE = (
    "piano",
    "quarry",
    "school",
    "telescope",
    "theatre",
    "tower",
    "vineyard",
    "violin",
    "windmill",
    "workshop",
)
_TEMPLATES = (
    "{person} bought a {thing} in {place} for {number} crowns.",
    "In {year} {person} moved from {place} to {other}.",
    "The {thing} of {place} was built by {person} in {year}.",
    "{person} keeps the key of the {thing} under stone {number} in {place}.",
    "The train from {place} to {other} leaves at {clock} from platform {small}.",
    "{person} owes {partner} {number} crowns for a {thing}.",
    "{person} was born in {place} in {year} and owns {small} horses.",
    "The {thing} in {place} is {number} steps from the house of {person}.",
)


class Fact(NamedTuple):
    """One fact, and one of the same person and thing with other places and numbers."""

    text: str
    twin: str


def facts(count: int, seed: int) -> list[Fact]:
    """Return so many different facts; fewer of one seed are the first of more. No twin is a fact of them."""
    rng = random.Random(seed)
    made: dict[str, str] = {}
    twins: set[str] = set()
    while len(made) < count:
        template = rng.choice(_TEMPLATES)
        same = {"person": _person(rng), "partner": _person(rng), "thing": rng.choice(_THINGS + _THINGS_MORE)}
        text, twin = (template.format(**same, **_details(rng)) for _ in range(2))
        if text != twin and twin not in made and text not in twins:
            made.setdefault(text, twin)
            twins.add(twin)
    return [Fact(text, twin) for text, twin in made.items()]


def _details(rng: random.Random) -> dict[str, str]:
    return {
        "place": _name(rng, _PLACE_END),
        "other": _name(rng, _PLACE_END),
        "number": f"{rng.randrange(100, 1000)}",
        "year": f"{rng.randrange(1700, 2000)}",
        "small": f"{rng.randrange(2, 20)}",
        "clock": f"{rng.randrange(24)}:{rng.randrange(60):02}",
    }


def _person(rng: random.Random) -> str:
    return f"{rng.choice(_FIRST + _FIRST_MORE)} {_name(rng, _PERSON_END)}"


def _name(rng: random.Random, ends: Sequence[str]) -> str:
    return rng.choice(_START) + rng.choice(_MIDDLE) + rng.choice(ends)
