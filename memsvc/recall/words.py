"""What the lexical signal counts as a word, in any language.

Text is brought to NFKC and case-folded, then cut at the word borders of UAX #29. Scripts written without spaces become
overlapping pairs of characters, an emoji is a word, and a name such as `os.path` or `read_only` is its parts.
Only words of Latin letters lose English stop words and are stemmed.
"""

import unicodedata

import regex
import Stemmer

MAX_WORD = 64
"""Characters of a word that count: a run of base pairs or of Base64 is one word of any length."""

_UNSPACED = r"\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}ー"
# Two regional indicators are a flag. They have a branch of their own: the border test counts back through all of them.
_WORD = regex.compile(
    rf"(?P<unspaced>[{_UNSPACED}]+)|\p{{Regional_Indicator}}{{1,2}}|\b(?=[\p{{L}}\p{{N}}\p{{Extended_Pictographic}}]).+?\b",
    regex.WORD | regex.V1 | regex.DOTALL,
)
_JOINT = regex.compile(r"_+|(?<=\p{L})[.:](?=\p{L})")
_MARKS = regex.compile(r"(\p{M}{30})\p{M}+")
_LATIN = regex.compile(r"[\p{Latin}\p{M}\p{N}\p{P}]+", regex.V1)
_HAN = regex.compile(r"\p{Han}", regex.V1)
_IGNORED = (0xAD, *range(0xFE00, 0xFE10), *range(0x1F3FB, 0x1F400), *range(0xE0100, 0xE01F0))
# Soft hyphens, variation selectors and skin tones change how a character looks; the apostrophes are one.
_SAME: dict[int, str | None] = dict.fromkeys(_IGNORED) | {0x2019: "'", 0x02BC: "'"}

_ENGLISH = """
    a about above after again against all am an and any are as at be because been before being below between both
    but by can could did do does doing down during each few for from further had has have having he her here hers
    herself him himself his how i if in into is it its itself just me more most my myself no nor not now of off on
    once only or other our ours ourselves out over own same she should so some such than that the their theirs them
    themselves then there these they this those through to too under until up us very was we were what when where
    which while who whom why will with would yes you your yours yourself yourselves aren't can't couldn't didn't
    doesn't don't hadn't hasn't haven't he'd he'll he's here's how's i'd i'll i'm i've isn't it's let's she'd she'll
    she's shouldn't that's there's they'd they'll they're they've wasn't we'd we'll we're we've weren't what's
    when's where's who's why's won't wouldn't you'd you'll you're you've
"""
STOP_WORDS = frozenset(_ENGLISH.split())
"""English words that say nothing about what a text is about; never indexed and never searched for."""


def entry_terms(text: str) -> list[str]:
    """Return the terms of an entry, with repeats. Han characters also count one by one: many are words."""
    return _terms(text, single_han=True)


def query_terms(text: str) -> list[str]:
    """Return the terms to look for, with repeats. A Han character counts by itself only where it stands alone."""
    return _terms(text, single_han=False)


def folded(text: str) -> str:
    """Return a text as it compares: in NFKC, case-folded, each run of white space one space, none at the ends.

    One that stacks more marks than any language does compares as it is: normalising n of them takes n² steps.
    """
    if not text.isascii():
        if _MARKS.search(text):
            return text
        # Folding may leave what is no NFKC any more.
        text = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    return " ".join(text.casefold().split())


def _terms(text: str, *, single_han: bool) -> list[str]:
    if not text.isascii():
        # No language stacks more than 30 marks (UAX #15, stream-safe text), and normalising n of them takes n^2 steps.
        text = unicodedata.normalize("NFKC", _MARKS.sub(r"\1", text.translate(_SAME)))
    terms: list[str] = []
    english: list[str] = []
    for match in _WORD.finditer(_JOINT.sub(" ", text.casefold())):
        word: str = match[0]
        if match.lastgroup is not None:
            terms += _pairs(word, single_han=single_han)
        elif not (word.isascii() or _LATIN.fullmatch(word)):
            terms.append(word[:MAX_WORD])
        elif word not in STOP_WORDS:
            english.append(word[:MAX_WORD])
    # A stemmer is not safe to share between threads, and costs less than a microsecond to make.
    terms += Stemmer.Stemmer("english", 0).stemWords(english)
    return terms


def _pairs(run: str, *, single_han: bool) -> list[str]:
    if len(run) == 1:
        return [run]
    pairs = [run[i : i + 2] for i in range(len(run) - 1)]
    return pairs + _HAN.findall(run) if single_han else pairs
