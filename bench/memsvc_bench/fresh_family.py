"""Needles that no training has seen: sentences written apart from the training's, before anyone looked at those.

How a person states and asks for a number that belongs to a named thing: other forms, attributes and lengths of values
than training has. They were never run on a model in training, and are not changed after a run on a final one; the
result holds the SHA-256 of this file.
"""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from memsvc.train.families import DnaFamily
from memsvc.train.family import Family

LENGTHS = (3, 4, 5, 6, 7, 8)

TEXT = Family(
    attributes=(
        "odometer reading",
        "seating capacity",
        "hull registration",
        "annual rainfall",
        "page count",
        "parish tally",
        "freight docket",
        "shelf mark",
        "altitude",
        "meter reading",
        "harvest weight",
        "hymn total",
        "boiler pressure",
        "warrant card",
        "tonnage",
        "radio frequency",
    ),
    statements=(
        "According to the harbour log, {key} was entered under {attribute} {value}.",
        "For {key} the clerk noted a {attribute} of {value}, and nobody objected.",
        "On the form for {key}, next to {attribute}, somebody had pencilled {value}.",
        "Those who visit {key} will want its {attribute}, {value}, before they set out.",
        "{key}, whose {attribute} reads {value}, is open on weekdays.",
        "It took us a morning to learn that the {attribute} at {key} had been changed to {value}.",
        "Last spring {key} was given a new {attribute}: {value}.",
        "Among the papers about {key} there was a slip saying {attribute} = {value}.",
        "My notes put the {attribute} belonging to {key} at {value} exactly.",
        "Nobody at {key} disputes that their {attribute} stands at {value} this year.",
        "Please file {key} with {attribute} {value} from now on.",
        "The plaque outside {key} still shows a {attribute} of {value} in brass.",
        "As for {key}, the surveyors settled its {attribute} at {value}.",
        "Two letters confirm {key}'s {attribute}; both say {value}.",
    ),
    questions=(
        "Which {attribute} was recorded against {key}? They recorded",
        "Could you look up {key} and read me its {attribute}? Of course, it reads",
        "To write to {key} one needs the {attribute}, and that is",
        "If anyone should ask about {key}, say that the {attribute} comes to",
        "Question about {key}: what {attribute} does it have? Answer:",
        "I have forgotten what {key} has as its {attribute}. I believe it was",
        "Find the {attribute} for {key} in what you read above. Result:",
        "Q. {attribute} of {key}? A.",
        "We were told earlier which {attribute} goes with {key}; we were told",
        "Fill in the blank: at {key} the {attribute} amounts to",
        "Do you happen to recall the {attribute} they use at {key}? Yes,",
        "Reminder for {key} ({attribute}):",
        "Earlier in this text {key} came up, along with a {attribute} of",
        "What would you enter for {key} in the column headed {attribute}? I would enter",
    ),
    lengths=LENGTHS,
    test=True,
)

DIALOGUE = Family(
    attributes=(
        "gate combination",
        "marathon bib",
        "lottery ticket",
        "rent",
        "step count",
        "mileage",
        "bus pass",
        "allotment plot",
        "raffle entry",
        "train carriage",
        "deposit",
        "high score",
    ),
    statements=(
        "{speaker}: Oh, before I forget, {other}: {key} moved, and the {attribute} there is {value} now.",
        "{speaker}: Guess what, I finally got {key} sorted. {attribute}? {value}, can you believe it!",
        "{speaker}: You were asking about {key}, right? I checked, their {attribute} went up to {value} in May.",
        "{speaker}: Hey {other}, grab a pen. {key}, {attribute}, {value}. Got that?",
        "{speaker}: So funny, the lady at {key} kept repeating my {attribute}, {value}, like a song.",
        "{speaker}: I had to ring {key} twice about the {attribute}, but they say {value} and that's final.",
        "{speaker}: If you ever end up at {key}, tell them {attribute} {value} and they'll let you in.",
        "{speaker}: My sister swears that the {attribute} for {key} used to be {value} back then.",
        "{speaker}: {other}, don't laugh, but I tattooed the {attribute} from {key} on my arm: {value}.",
    ),
    questions=(
        "{other}: Hang on, what did you say the {attribute} was at {key}?\n{speaker}: I said",
        "{other}: Remember {key}? I need the {attribute} again.\n{speaker}: Sure, here you go:",
        "{other}: I'm at {key} right now and they want some {attribute}...\n{speaker}: Try",
        "{speaker}: Quiz time, {other}! {key}, {attribute}?\n{other}: Easy,",
        "{other}: Wasn't there something with {key} and a {attribute} you told me?\n{speaker}: Yep,",
        "{other}: Did you write down the {attribute} when you were dealing with {key}?\n{speaker}: I did, it's",
        "{speaker}: {other}, help me out, the {attribute} for {key} was\n{other}: Hmm,",
        "{other}: Just so I have it right, over at {key} your {attribute} is",
        "{other}: I told my mum about {key} and the {attribute}, which was, let me think,",
    ),
    lengths=LENGTHS,
    test=True,
    names=("Ottilie", "Bram", "Saskia", "Lorcan", "Ines", "Teodor", "Wren", "Kofi", "Mirela", "Anselm"),
    lead="\n",
)

# The motif says what is to be remembered, so it stays; spacers of another length, and payloads, are new.
DNA = DnaFamily(spacers=("TTGCAA", "GGGCCC", "CCATGG", "ATTTAAAT", "CGTACGCG"), lengths=(5, 11, 12), test=True)

FAMILIES: Mapping[str, Family] = MappingProxyType({"text": TEXT, "dialogue": DIALOGUE})
"""By the kind of text."""


def digest() -> str:
    """Return the SHA-256 of this file, in hexadecimal."""
    return hashlib.sha256(Path(__file__).read_bytes()).hexdigest()
