"""Facts as people tell them: plain sentences of who, where, what and when, as LoCoMo's are (arXiv:2402.17753).

No training has them: there, values are numbers, and here they are words, dates, and a few numbers. Nothing of LoCoMo
itself is in them.
"""

import random
from typing import NamedTuple

from tokenizers import Tokenizer

from memsvc.train.family import Needle
from memsvc.train.prose import to_fact
from memsvc.train.source import Fact
from memsvc.train.words import draw
from memsvc_bench.fresh_family import DIALOGUE

_MONTHS = ("January", "March", "May", "July", "October", "December")


class Form(NamedTuple):
    """What is said of someone, and how it is asked for."""

    statement: str
    asked: str
    answer: str
    """Up to the value."""
    values: tuple[str, ...]


FORMS = (
    Form(
        "{key} moved to {value} in the spring.",
        "Where did {key} move in the spring?",
        "{key} moved to",
        ("Lisbon", "Chicago", "Oslo", "Nairobi", "Kyoto", "Toronto", "Prague", "Lima"),
    ),
    Form(
        "Since last summer {key} has taken up {value}, and loves it.",
        "What has {key} taken up since last summer?",
        "{key} has taken up",
        ("pottery", "rowing", "chess", "climbing", "knitting", "archery", "baking", "fencing"),
    ),
    Form(
        "The dog that {key} adopted is called {value}.",
        "What is the dog that {key} adopted called?",
        "The dog is called",
        ("Biscuit", "Shadow", "Pepper", "Rusty", "Daisy", "Ziggy", "Mango", "Bear"),
    ),
    Form(
        "{key} works as a {value} now.",
        "What does {key} do for a living?",
        "{key} works as a",
        ("nurse", "plumber", "teacher", "baker", "lawyer", "pilot", "gardener", "journalist"),
    ),
    Form(
        "For the birthday party {key} baked a {value} cake.",
        "Which cake did {key} bake for the birthday party?",
        "{key} baked a",
        ("lemon", "carrot", "chocolate", "cherry", "walnut", "coconut", "ginger", "banana"),
    ),
    Form(
        "Last weekend {key} went to the {value} with an old friend.",
        "Where did {key} go with an old friend?",
        "{key} went to the",
        ("beach", "museum", "opera", "zoo", "market", "stadium", "library", "mountains"),
    ),
    Form(
        "{key} is learning to play the {value}.",
        "Which instrument is {key} learning to play?",
        "{key} is learning to play the",
        ("violin", "drums", "flute", "piano", "guitar", "harp", "trumpet", "cello"),
    ),
    Form(
        "{key} and a cousin met again on {value}.",
        "When did {key} and a cousin meet again?",
        "They met on",
        tuple(f"{day} {month} 2023" for day in range(1, 29) for month in _MONTHS),
    ),
    Form(
        "{key} has lived in the same house for {value} years.",
        "For how many years has {key} lived in the same house?",
        "{key} has lived there for",
        tuple(map(str, range(2, 60))),
    ),
    Form(
        "At the evening class {key} painted a {value}.",
        "What did {key} paint at the evening class?",
        "{key} painted a",
        ("sunset", "horse", "lighthouse", "forest", "castle", "portrait", "waterfall", "sailing boat"),
    ),
    Form(
        "{key} cannot eat {value}, because of an allergy.",
        "What can {key} not eat, because of an allergy?",
        "{key} cannot eat",
        ("peanuts", "shrimp", "eggs", "celery", "cheese", "wheat", "strawberries", "mustard"),
    ),
    Form(
        "What {key} wants most is a {value}.",
        "What does {key} want most?",
        "{key} wants a",
        ("bicycle", "telescope", "garden", "quiet week", "new phone", "motorbike", "puppy", "sewing machine"),
    ),
)


def draw_facts(rng: random.Random, count: int, kind: str, tokenizer: Tokenizer) -> list[Fact]:
    """Return facts of different people, whose names are those that training may not see.

    Args:
        rng: draws all.
        count: how many.
        kind: `text` or `dialogue`, in which they are what speakers say.
        tokenizer: of the model.
    """
    needles = (_needle(rng, name.capitalize(), kind) for name in draw(rng, count, test=True))
    # The whole value counts, the blank at its start included: it is a part of the word.
    return [to_fact(needle, tokenizer)._replace(free=0) for needle in needles]


def _needle(rng: random.Random, key: str, kind: str) -> Needle:
    form = rng.choice(FORMS)
    before, after = form.statement.format(key=key, value="|").split(" |")
    asked, answer = form.asked.format(key=key), form.answer.format(key=key)
    value = f" {rng.choice(form.values)}"
    if kind == "text":
        return Needle(f" {before}", value, after, f" {asked} {answer}")
    speaker, other = rng.sample(DIALOGUE.names, 2)
    return Needle(f"\n{speaker}: {before}", value, after, f"\n{other}: {asked}\n{speaker}: {answer}")
