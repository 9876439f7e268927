"""Needles: what is hidden in a text and asked for later. Which of them training may see is decided here alone.

`disjoint` shares nothing with `training`: no form of sentence or question, no attribute, no key, no length of a value,
no speaker. `similar` has training's forms, new keys, and the length that training sees most.
"""

import random
from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Literal

from memsvc.train.family import Family
from memsvc.train.words import draw

FamilyName = Literal["training", "similar", "disjoint"]

_KINDS = (
    *("secret", "private", "public", "old", "new", "main", "spare", "first", "second", "internal", "home", "daily"),
    *("access", "door", "locker", "account", "ticket", "serial", "room", "phone", "order", "key", "badge"),
)
_NOUNS = (
    *("number", "code", "key", "pin", "password", "score", "extension", "total", "rank", "price", "weight", "age"),
    *("size", "level", "count", "index", "date"),
)

_TEXT = Family(
    attributes=tuple(f"{kind} {noun}" for kind in _KINDS for noun in _NOUNS),
    statements=(
        "The {attribute} of {key} is {value}.",
        "The {attribute} of {key} is {value}.",
        "The {attribute} for {key} is {value}.",
        "{key} has the {attribute} {value}.",
        "Remember that the {attribute} of {key} is {value}.",
        "For {key}, the {attribute} is {value}.",
        "Note that {key} got {attribute} {value}.",
        "One of the facts about {key}: {attribute} {value}.",
        "The {attribute} given to {key} was {value}.",
        "{key} told us that the {attribute} is {value}.",
        "As for {key}, its {attribute} is {value} now.",
        "We found {key} with {attribute} {value} today.",
        "{key}: {attribute} {value}.",
        "My friend {key} has {attribute} {value}.",
        "According to {key}, the {attribute} is {value}.",
        "The {attribute} that {key} chose is {value}.",
        "{key}'s {attribute} is {value}.",
        "I wrote down that {key} has {attribute} {value}.",
        "Everyone knows {key} by the {attribute} {value}.",
        "The list says {key}, {attribute} {value}.",
        "In the file, {key} is shown with {attribute} {value}.",
        "Today {key} changed the {attribute} to {value}.",
        "If you meet {key}, the {attribute} is {value}.",
        "{key} lives at {attribute} {value}.",
    ),
    questions=(
        "{key}'s {attribute} is",
        "Can you tell me the {attribute} of {key}? Yes, it is",
        "According to {key}, the {attribute} is",
        "Do you remember {key}? The {attribute} was",
        "The list says {key}, {attribute}",
        "What {attribute} did {key} choose? It was",
        "I need the {attribute} for {key}, which is",
        "If you meet {key}, the {attribute} is",
        "The {attribute} of {key} is",
        "The {attribute} of {key} is",
        "The {attribute} for {key} is",
        "{key} has the {attribute}",
        "What is the {attribute} of {key}? It is",
        "Which {attribute} does {key} have? The answer is",
        "For {key}, the {attribute} is",
        "Question: what is the {attribute} of {key}? Answer:",
        "The {attribute} given to {key} was",
        "{key}: {attribute}",
    ),
    lengths=(5, 5, 5, 5, 2, 4, 7, 8),
    test=False,
)

_OTHER_TEXT = Family(
    attributes=("vault code", "flight number", "magic number", "tracking number", "licence", "bus line"),
    statements=(
        "Keep in mind: {key} uses the {attribute} {value}.",
        "They assigned {key} a {attribute}, namely {value}.",
        "It turned out that {key} owns {attribute} {value}.",
        "In the register, {key} stands under {attribute} {value}.",
    ),
    questions=(
        "Tell me the {attribute} that {key} uses:",
        "{key} owns {attribute}",
        "In the register, {key} stands under {attribute}",
        "Please look up {key}. Its {attribute} must be",
    ),
    lengths=(3, 6),
    test=True,
)

_DIALOGUE = Family(
    attributes=_TEXT.attributes,
    statements=(
        "{speaker}: The {attribute} of {key} is {value}.",
        "{speaker}: By the way, the {attribute} of {key} is {value}.",
        "{speaker}: {other}, please remember that the {attribute} for {key} is {value}.",
        "{speaker}: I have it here, {key} has the {attribute} {value}.",
        "{speaker}: For {key} we took the {attribute} {value}, {other}.",
        "{speaker}: Did I tell you? {key} got {attribute} {value} today.",
        "{speaker}: What about {key}?\n{other}: The {attribute} is {value}.",
        "{speaker}: Do you know the {attribute} of {key}?\n{other}: Yes, it is {value}.",
        "{speaker}: My friend {key} has {attribute} {value}.",
        "{speaker}: Write down {key}: {attribute} {value}.",
    ),
    questions=(
        "{speaker}: What is the {attribute} of {key}?\n{other}: It is",
        "{speaker}: Do you still know the {attribute} of {key}?\n{other}: Sure, it is",
        "{speaker}: {other}, which {attribute} does {key} have?\n{other}: The answer is",
        "{speaker}: And {key}?\n{other}: The {attribute} is",
        "{speaker}: Again, the {attribute} for {key} is",
        "{speaker}: I think {key} has the {attribute}",
        "{speaker}: What was it with {key}?\n{other}: {attribute}",
    ),
    lengths=_TEXT.lengths,
    test=False,
    names=("Alice", "Ben", "Carla", "David", "Emma", "Frank", "Grace", "Henry", "Iris", "James", "Karen", "Liam"),
    lead="\n",
)

_OTHER_DIALOGUE = Family(
    attributes=_OTHER_TEXT.attributes,
    statements=(
        "{speaker}: Keep in mind, {other}: {key} uses the {attribute} {value}.",
        "{speaker}: They gave {key} a new {attribute}, namely {value}.",
    ),
    questions=(
        "{speaker}: Tell me the {attribute} that {key} uses.\n{other}: That would be",
        "{speaker}: Any idea about {key}?\n{other}: The new {attribute} must be",
    ),
    lengths=_OTHER_TEXT.lengths,
    test=True,
    names=("Melanie", "Caroline", "Oscar", "Petra", "Quentin", "Rosa"),
    lead="\n",
)

FAMILIES: Mapping[str, Mapping[FamilyName, Family]] = MappingProxyType(
    {
        kind: MappingProxyType(
            {"training": training, "similar": replace(training, lengths=(5,), test=True), "disjoint": disjoint}
        )
        for kind, training, disjoint in (
            ("text", _TEXT, _OTHER_TEXT),
            ("dialogue", _DIALOGUE, _OTHER_DIALOGUE),
        )
    }
)
"""By kind of text, and by name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DnaFamily:
    """Needles in DNA: a motif, a key, a spacer, a payload."""

    spacers: tuple[str, ...]
    lengths: tuple[int, ...]
    """Bases of a payload; what is here more often is drawn more often."""
    test: bool
    """Whether its keys are those that training may not see."""


_SPACERS = ("CCTAGG", "AAGCTT", "GGTACC", "TCTAGA", "CAGCTG", "GTCGAC", "ACTAGT", "CTGCAG")

DNA: Mapping[FamilyName, DnaFamily] = MappingProxyType(
    {
        "training": DnaFamily(spacers=_SPACERS, lengths=(8, 8, 8, 6, 10), test=False),
        "similar": DnaFamily(spacers=_SPACERS, lengths=(8,), test=True),
        "disjoint": DnaFamily(spacers=("GAATTC", "GCATGC"), lengths=(7, 9), test=True),
    }
)

_DISTRACTORS = (
    "{key} went home and came back later.",
    "There are {value} pages in this book.",
    "In the year {value} nothing happened.",
    "Nobody has seen {key} since then.",
    "The meeting took {value} minutes.",
    "{key} and {other} are friends.",
    "About {value} people live there.",
    "What {key} said to {other} is not known.",
    "See section {value} for more about this.",
    "The train left at {value} and was full.",
)


def distractor(rng: random.Random, *, test: bool) -> str:
    """Return a sentence with a name or a number, as needles have, that states nothing to be asked for."""
    key, other = draw(rng, 2, test=test)
    return rng.choice(_DISTRACTORS).format(key=key, other=other, value=rng.randrange(10 ** rng.randint(1, 5)))
