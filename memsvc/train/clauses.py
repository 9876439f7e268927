"""Clauses after which a value follows, put together from parts.

What states a fact has to be learnt as a kind: a few dozen sentences would be learnt by heart, and a fact in other words
would then not be written. Loose clauses have no grammar at all: what they have in common with each other is a name,
and after it a value.
"""

import random
from collections.abc import Sequence
from typing import NamedTuple

_VERBS = (
    *("has", "keeps", "got", "took", "chose", "picked", "wants", "needs", "sent", "gave", "reported", "entered"),
    *("wrote", "typed", "printed", "bought", "sold", "shows", "carries", "holds", "lists", "found", "lost", "received"),
    *("prefers", "remembers", "ordered", "booked", "claimed", "registered", "set", "signed", "updated", "announced"),
    *("confirmed", "mentioned", "requested", "selected", "saved", "left", "called", "read", "counted", "paid", "named"),
    *("was given", "was told", "asked for", "answered with", "came with", "stays with", "worked out", "put down"),
)
_DETERMINERS = ("the ", "the ", "a ", "his ", "her ", "its ", "their ", "this ", "one ", "another ", "")
_JOINTS = (
    "",
    "",
    "",
    ":",
    ":",
    " of",
    " =",
    ", which is",
    " as",
    " -",
    " no.",
    ", that is,",
    " equal to",
    " with",
    ",",
)
_LINKS = ("of", "of", "of", "for", "for", "from", "by", "behind", "near", "with", "belonging to", "given to", "at")
_COPULAS = (
    *("is", "is", "is", "was", "became", "reads", "says", "remains", "stays", "turned into", "will be", "equals"),
    *("should be", "is set to", "comes to", "amounts to", "has been", "is still", "is now", "begins:", "went up to"),
)
_TIES = ("'s", "'s", " and its", " and the", ", whose", " has a", " with a")
_MARKS = (":", ",", " /", " -", " |", ";", " ->", " =", ".")
_CLAUSES = (
    *("the {attribute} of {key} is", "the {attribute} for {key} is", "{key} has the {attribute}"),
    *("{key}'s {attribute} is", "{key} got a {attribute}, which is", "{key} was given the {attribute}"),
    *("the {attribute} that {key} chose is", "{key} lives at {attribute}", "{key} is listed with {attribute}"),
    *("{key} changed the {attribute} to", "we know {key} by the {attribute}", "{key} works at {attribute}"),
    *("we met {key}, whose {attribute} is", "{key} came with a {attribute}:", "there is {key}, and the {attribute} is"),
    *("{key} keeps {attribute}", "for {key}, the {attribute} is", "as for {key}, its {attribute} is"),
    *("according to {key}, the {attribute} is", "{key}: {attribute}", "if you meet {key}, the {attribute} is"),
    *("{key} told us that the {attribute} is", "the file shows {key} with {attribute}", "{key} bought {attribute}"),
    *("when we asked {key}, the {attribute} was", "without {key} nobody knows the {attribute}, it is"),
    *(
        "you find {key} under the {attribute}",
        "in the list, {key} comes with {attribute}",
        "call {key} by the {attribute}",
    ),
    *("to reach {key}, use the {attribute}", "they gave {key} a new {attribute},", "{key}, who has the {attribute}"),
)


def clause(rng: random.Random) -> str:
    """Return a clause with {key} and {attribute}."""
    match rng.randrange(8):
        case 0 | 1 | 2:
            return rng.choice(_CLAUSES)
        case 3 | 4:
            verb, determiner, joint = map(rng.choice, (_VERBS, _DETERMINERS, _JOINTS))
            return f"{{key}} {verb} {determiner}{{attribute}}{joint}"
        case 5:
            link, copula = map(rng.choice, (_LINKS, _COPULAS))
            return f"the {{attribute}} {link} {{key}} {copula}"
        case 6:
            return f"{{key}}{rng.choice(_TIES)} {{attribute}} {rng.choice(_COPULAS)}"
        case _:
            first, second = map(rng.choice, (_MARKS, ("", *_MARKS)))
            order = rng.choice(("{{key}}{first} {{attribute}}{second}", "{{attribute}}{first} {{key}}{second}"))
            return order.format(first=first, second=second)


def sentences(count: int, *, openings: Sequence[str], endings: Sequence[str]) -> tuple[str, ...]:
    """Return so many different clauses between openings and endings."""
    rng, found = random.Random(0), dict[str, None]()  # noqa: S311  # a seed, no secret
    while len(found) < count:
        found[capitalised(f"{rng.choice(openings)}{clause(rng)}{rng.choice(endings)}")] = None
    return tuple(found)


_COMMON = 150
"""Of the words that are ordered by how often they are there, half of what is drawn is among the first of so many."""
_BREAKS = ("", "", "", "", "", "", ",", ":", ".", " -", " (")
_ASIDES = (0, 1, 1, 2, 2, 3, 4, 6)
"""How much stands beside what is asked for: words, or runs of words."""


class Wording(NamedTuple):
    """What loose forms are made of."""

    words: tuple[str, ...]
    """The most frequent first."""
    phrases: tuple[str, ...]
    """Runs of words of ordinary text."""

    def word(self, rng: random.Random) -> str:
        """Return one of the words, a frequent one as often as any of the others."""
        return rng.choice(self.words[:_COMMON] if rng.random() < 0.5 else self.words)

    def aside(self, rng: random.Random) -> str:
        """Return a word or a phrase."""
        return self.word(rng) if rng.random() < 0.5 else rng.choice(self.phrases)


def loose(rng: random.Random, wording: Wording, slots: Sequence[str]) -> str:
    """Return slots in any order among any words."""
    parts = [*slots, *(wording.aside(rng) for _ in range(rng.choice(_ASIDES)))]
    rng.shuffle(parts)
    return capitalised(_broken(rng, parts))


def tail(rng: random.Random, wording: Wording) -> str:
    """Return what may come between a form and its value: a blank and any words."""
    return f"{rng.choice(_BREAKS)} {_broken(rng, [wording.aside(rng) for _ in range(rng.randint(1, 3))])}"


def _broken(rng: random.Random, parts: list[str]) -> str:
    at = rng.randrange(len(parts))
    parts[at] += rng.choice(_BREAKS)
    return " ".join(parts)


def capitalised(form: str) -> str:
    """Return a form with its first letter large, unless it begins with a key."""
    return form if form.startswith("{") else form[0].upper() + form[1:]
