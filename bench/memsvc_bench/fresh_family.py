"""Needles that no training has seen: sentences written by someone who had not read training's.

How a person states, and asks for, a number that belongs to a named thing. The writer had read neither training's
forms nor those of the earlier families. This family replaces an earlier one, which is spent: it had been looked at
while the models were worked on. These forms are never run on a model in training, and they are not changed after a
run on a final one; the result holds the SHA-256 of this file.
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
        "queue ticket number",
        "deposit box number",
        "fuel allowance",
        "parcel weight",
        "survey reference",
        "roof height",
        "insurance excess",
        "radio channel",
        "warranty number",
        "loan balance",
        "overtime total",
        "reserve price",
        "case file number",
        "fax number",
        "crate count",
        "heating bill",
    ),
    statements=(
        "Just so it is written down somewhere: {key} has {attribute} {value}, and nobody should have to ask me again.",
        "Status of {key}: active | {attribute} {value} | fees paid.",
        "Dear neighbours, after the third letter from the council we finally learned that the {attribute} given to "
        "{key} is {value}, not the one on the old notice.",
        "LOG, early shift. Looked at {key}, noted {attribute} as {value}, nothing else to report.",
        "When the inspectors had finished with {key} on Thursday, wet through and in no mood for conversation, they "
        "agreed on one thing only, namely that the {attribute} stood at {value}.",
        "The {attribute} of {key}? It turned out to be {value}, said the clerk, and shut the drawer.",
        "Please amend your records. {key} was entered wrongly last spring; the correct {attribute} reads {value}.",
        "New {attribute} for {key} from Monday: {value}. The old one is no longer valid.",
        "She knew nothing else about {key}, but she had typed up the papers so often that she could have recited the "
        "{attribute}, {value}, in her sleep.",
        "Under {attribute} the register shows {key} with {value}.",
        "According to the regional paper, a lawyer for {key} surprised everyone at the hearing by admitting that, "
        "despite all the denials of the past months, the {attribute} had been {value} from the very start.",
        "hi, quick one: {attribute} {key} = {value}. thx",
        "I asked at the counter about {key}. The woman went through two folders, sighed, rang somebody upstairs, and "
        "at last wrote the {attribute} on the back of my hand: {value}.",
        "Re: {key}. The {attribute} you were missing is {value}. Kind regards from the office.",
        "Appendix, row {key}, column {attribute}: {value} (checked twice).",
        "Whoever takes over from me should know that, where {key} is concerned, I left the {attribute} at {value}.",
    ),
    questions=(
        "What was written down as the {attribute} of {key}? It was",
        "Which {attribute} does {key} have? Answer:",
        "Name: {key}. {attribute}:",
        "If someone rings and wants the {attribute} for {key}, tell them it is",
        "Let us go over it once more. As we read earlier, {key} was listed with the {attribute}",
        "To sum up, the {attribute} for {key} was given as",
        'The editor wrote in the margin, "What about {key}? Put the {attribute} here." So the author added:',
        "Reminder regarding {key}: the {attribute}, as stated above, is",
        "I have forgotten the {attribute} that goes with {key}. Looking back through my notes, I find",
        "Fill in the gap. {attribute}, {key}:",
        "Out of everything in these pages about {key}, the one figure that matters now is the {attribute}, which is",
        "Could you send me {key}'s {attribute} again? Of course, here you are:",
        "From the card marked {key}, copy out the {attribute}:",
        "Quiz for attentive readers: how does the {attribute} of {key} read? It reads",
        "Anyone looking up {key} will find, next to the heading {attribute}, the entry",
        "Thank you, and before we close the file on {key}, the chair would like to hear the {attribute} one last time:",
    ),
    lengths=LENGTHS,
    test=True,
)

DIALOGUE = Family(
    attributes=(
        "hotel room number",
        "raffle ticket number",
        "sort code",
        "buzzer number",
        "voicemail pin",
        "taxi number",
        "bib number",
        "high score",
        "step count",
        "jersey number",
        "takeaway order number",
        "savings goal",
        "house number",
        "petrol bill",
        "lottery number",
        "repair quote",
    ),
    statements=(
        "{speaker}: Got a pen? {key}, {attribute}, {value}. That's all I know.",
        "{speaker}: Did anything come of that {key} business?\n{other}: Yeah, I've got the {attribute} now, it's "
        "{value}, at long last.",
        "{speaker}: Oh, before I hang up, the {attribute} for {key} is {value}, okay?\n{other}: Okay, noted.",
        "{speaker}: You won't believe this, {key} only went and got the {attribute} changed to {value}!",
        "{speaker}: Hang on, I'm reading it off the envelope. It says {key} at the top, then a load of small print, "
        "blah blah, and right down in the corner there's the {attribute}, which is {value}.",
        "{speaker}: What was that {attribute} you were on about, the {key} one?\n{other}: Um, let me look... {value}, "
        "I think. Yes.",
        "{speaker}: {key}'s {attribute}? Easy, {value}.\n{other}: How do you even remember that?",
        "{speaker}: My mum always said there's one thing you need to know about {key}, and that's the {attribute}. So "
        "here it is, {value}, don't lose it.",
        "{speaker}: I got it wrong yesterday, sorry. For {key} the {attribute} should be {value}.",
        "{speaker}: Say that again, it's so loud in here.\n{other}: I said, the {attribute} for {key} is {value}!",
        "{speaker}: lol guess the {attribute} on {key}. it's {value}, no joke",
        "{speaker}: They made me spell {key} out letter by letter, then I was on hold for ages, then the line went "
        "dead, and when somebody finally picked up again I got the {attribute} in about a second, {value}.",
        "{speaker}: Put this in your phone under {key}, will you?\n{other}: Sure, {attribute} {value}, done.",
        "{speaker}: Honestly, I've got nothing against {key}, but look at the {attribute}, I mean, {value}, come on."
        "\n{other}: Could be worse.",
        "{speaker}: Right, {attribute} for {key} just came through, {value}.",
        "{speaker}: You asked about {key} the other day and I didn't have it on me. I do now. For the {attribute}, "
        "we're talking {value}.\n{other}: Brilliant, cheers.",
    ),
    questions=(
        "{speaker}: What did you say {key}'s {attribute} was?\n{other}: I said it was",
        "{speaker}: Remind me, the {attribute} for {key}?\n{other}: That's",
        "{speaker}: If I've got this right, {key} had the {attribute}",
        "{speaker}: Somebody's asking about {key}. Do we have the {attribute}?\n{other}: We do, it's",
        "{speaker}: Wait, I scribbled it down when you told me. Here, {key}, {attribute},",
        "{speaker}: Okay, so, we talked about {key}, and you told me the {attribute} is",
        "{speaker}: I've got a head like a sieve. What's the {attribute} again, the {key} one?\n{other}: For the last "
        "time, it's",
        "{speaker}: I'm doing this form, and where it wants the {attribute} for {key} I'll just write",
        "{speaker}: Bet you can't tell me the {attribute} {key} has.\n{other}: Can too,",
        "{speaker}: {key}, {attribute}, go!\n{other}: Er,",
        "{speaker}: Sorry, I wasn't listening when you went on about {key} earlier. There was some {attribute} in it, "
        "wasn't there? What was it?\n{other}: It was",
        "{speaker}: So when they ring up about {key} and want the {attribute}, I should say",
        "{speaker}: did u save the {attribute} for {key}??\n{other}: yep",
        "{speaker}: Can you read me back what you've got for {key}?\n{other}: Sure. Under {attribute} I've got",
        "{speaker}: I keep mixing them up. {key} is the one where the {attribute} is",
        "{speaker}: Let's see who's been paying attention. Which {attribute} belongs to {key}?\n{other}: Ooh, I know "
        "this one,",
    ),
    lengths=LENGTHS,
    test=True,
    names=("Bruno", "Sadie", "Kofi", "Ingrid", "Mateo", "Leila", "Duncan", "Anouk", "Rafael", "Winnie"),
    lead="\n",
)

# The motif says what is to be remembered, so it stays, and so do the payloads' lengths; the spacers are new.
DNA = DnaFamily(spacers=("CCATGG", "AGATCT", "CTCGAG", "TACGTA", "GTTTAAAC"), lengths=(5, 11, 12), test=True)

FAMILIES: Mapping[str, Family] = MappingProxyType({"text": TEXT, "dialogue": DIALOGUE})
"""By the kind of text."""


def digest() -> str:
    """Return the SHA-256 of this file, in hexadecimal."""
    return hashlib.sha256(Path(__file__).read_bytes()).hexdigest()
