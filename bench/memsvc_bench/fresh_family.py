"""Needles that no training has seen: sentences written by someone who had not read training's.

How a person states and asks for a number that belongs to a named thing. The writer saw how a family is put together
and the tests that keep this one apart from training's, but neither training's forms nor those that stood here before.
Only attributes and spacers that proved to be training's, or the earlier family's, were then exchanged. This family
replaces that earlier one, which was spent: it had been run on an earlier model. These forms were never run on a model
in training, and are not changed after a run on a final one; the result holds the SHA-256 of this file.
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
        "booking reference",
        "rainfall total",
        "membership number",
        "mileage",
        "print run",
        "batch number",
        "tax reference",
        "policy number",
        "library card number",
        "planning application number",
        "customer number",
        "purchase order number",
        "annual rent",
        "patient number",
        "alarm code",
        "catalogue number",
    ),
    statements=(
        "According to the file on {key}, the {attribute} is {value}.",
        "Anyone who asks for {key}'s {attribute} should be given {value}.",
        "I copied the {attribute} for {key} off the letter this morning, and it reads {value}.",
        "{key} wrote back on Tuesday to confirm that the {attribute} is {value}.",
        "For the record, the {attribute} belonging to {key} was {value} when we last checked.",
        "On the page about {key}, the line for the {attribute} has been filled in with {value}.",
        "After some back and forth with the office, {key} was told that the {attribute} had been changed to {value}.",
        "The label stuck on the back gives the {attribute} of {key} as {value}, in blue ink.",
        "When the inspector came to look at {key}, she put the {attribute} down as {value}.",
        "We know very little about {key} except the {attribute}, {value}, which was printed on the receipt.",
        "It took two phone calls to find out {key}'s {attribute}; it turns out to be {value}.",
        "Entry for {key} ({attribute}): {value}, checked and signed.",
        "Whoever takes over {key} from me will need the {attribute}, so here it is: {value}.",
        "The {attribute} had gone missing from our notes on {key}, but Maria found it again: {value}.",
        "Since the beginning of the month, {key} has had a new {attribute}, namely {value}.",
        "Please note that {key}, with the {attribute} {value}, has been moved to the second list.",
    ),
    questions=(
        "Could someone tell me the {attribute} for {key}? Yes, it is",
        "Question: which {attribute} was given for {key}? Answer:",
        "Someone wanted to know about {key} and asked for the {attribute}. We looked it up, and it was",
        "As was said further up, the {attribute} that goes with {key} is",
        "Going by the text above, {key}'s {attribute} must be",
        "I have to enter the {attribute} on the form for {key}. From what I read, I should write",
        "Remind me what the {attribute} is in the case of {key}. It is",
        "Q. Do we know {key}'s {attribute}? A. We do, it's",
        "To sum up what has been said of {key}, the {attribute} stands at",
        "If you had to state the {attribute} recorded for {key}, you would say",
        "Looking back, what did it say about {key}'s {attribute}? It said",
        "The reader may recall that {key} was mentioned before, together with the {attribute}, which was",
        "Find the {attribute} of {key} in the pages above and copy it here:",
        "Nobody could remember {key}'s {attribute} until one of us turned back a few pages and read out",
        "How would you complete this card? Name: {key}. Wanted: {attribute}. Number:",
        "What number was it that {key} had as the {attribute}? It was",
    ),
    lengths=LENGTHS,
    test=True,
)

DIALOGUE = Family(
    attributes=(
        "wristband number",
        "hotline extension",
        "gate code",
        "word count",
        "calorie count",
        "parking permit number",
        "confirmation code",
        "courier reference",
        "daily dose",
        "bus pass number",
        "student number",
        "claim number",
        "monthly fee",
        "locker combination",
    ),
    statements=(
        "{speaker}: Before I forget, {key}'s {attribute} is {value}.",
        "{speaker}: Hang on, I've got the email about {key} open here. Under {attribute} it says {value}.",
        "{speaker}: Did you hear back about {key}?\n{other}: I did, the {attribute} is {value} now.",
        "{speaker}: So I finally got through to someone about {key}, and they told me the {attribute} is {value}.",
        "{speaker}: Can you jot something down for me, {other}? It's the {attribute} for {key}, {value}.",
        "{speaker}: You were wondering about {key}, {other}. I checked, and the {attribute} comes out as {value}.",
        "{speaker}: They've gone and changed the {attribute} for {key} again. It's {value} from today.",
        "{speaker}: What have you got down for {key}?\n{other}: For the {attribute}? {value}, unless I misread it.",
        "{speaker}: I keep mixing these up, but I'm sure {key} is the one with the {attribute} {value}.",
        "{speaker}: If {key} comes up while I'm away, the {attribute} you want is {value}, okay?",
        "{speaker}: Honestly, {other}, all I remember about {key} is that the {attribute} was {value}.",
        "{speaker}: I'm putting {key} in the spreadsheet, what's the {attribute}?\n{other}: One sec. Right, {value}.",
        "{speaker}: Good news, {key} is sorted. New {attribute}, by the way: {value}.",
        "{speaker}: {other}, there's a sticky note about {key} on your desk, it just says {attribute} {value}.",
    ),
    questions=(
        "{speaker}: Sorry, what was the {attribute} for {key} again?\n{other}: It was",
        "{speaker}: {other}, do you still have {key}'s {attribute}?\n{other}: Sure, that's",
        "{speaker}: I'm filling in the form for {key} and I'm stuck on the {attribute}.\n{other}: Put down",
        "{speaker}: Somebody's asking after {key}, they want the {attribute}.\n{other}: Tell them",
        "{speaker}: Just so I've got it right, for {key} the {attribute} would be",
        "{speaker}: You told us about {key} earlier. Which {attribute} did you say?\n{other}: I said",
        "{speaker}: Quick one, {key}'s {attribute}?\n{other}: That'd be",
        "{speaker}: I didn't write down the {attribute} when we talked about {key}. Did you?\n{other}: Yep, here:",
        "{speaker}: Scroll up a bit, we had {key}'s {attribute} somewhere.\n{other}: Found it,",
        "{speaker}: Who remembers the {attribute} we have for {key}?\n{other}: Me! It's",
        "{speaker}: Okay {other}, back to {key}. I need you to read me the {attribute}.\n{other}: Ready? It's",
        "{speaker}: My memory's terrible. With {key}, what did the {attribute} turn out to be?\n{other}: In the end,",
        "{speaker}: The woman on the phone wants to check {key}'s {attribute} with us.\n{other}: We've got",
        "{speaker}: And the {attribute} in {key}'s case, as we said before, is",
    ),
    lengths=LENGTHS,
    test=True,
    names=("Priya", "Declan", "Yusuf", "Marta", "Henrik", "Odette", "Callum", "Noor", "Giulia", "Tomasz"),
    lead="\n",
)

# The motif says what is to be remembered, so it stays, and so do the payloads' lengths; the spacers are new.
DNA = DnaFamily(spacers=("TGATCA", "CAATTG", "ACATGT", "GCGGCCGC", "TTAATTAA"), lengths=(5, 11, 12), test=True)

FAMILIES: Mapping[str, Family] = MappingProxyType({"text": TEXT, "dialogue": DIALOGUE})
"""By the kind of text."""


def digest() -> str:
    """Return the SHA-256 of this file, in hexadecimal."""
    return hashlib.sha256(Path(__file__).read_bytes()).hexdigest()
