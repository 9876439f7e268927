"""Haystacks that no model was trained on, and long enough not to repeat at two million tokens.

A haystack that repeats may flatter: what the gate lets in by mistake lies where it lay before, and takes no more room.
So prose is what training held out of Python's own manual and docstrings, and, since that is short, the docstrings of
libraries that memsvc needs anyway; DNA is a chain of its own.
"""

import random
from collections.abc import Callable, Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from tokenizers import Tokenizer

from memsvc.train import dna
from memsvc.train.corpus import Document, docstrings, documents
from memsvc.train.families import FAMILIES
from memsvc.train.prose import Prose, turns
from memsvc.train.source import Source

Kind = Literal["text", "dialogue", "dna"]
LIBRARIES = ("numpy", "torch")
"""Docstrings of these; training reads the standard library alone."""
REPEATED, SPRINKLED = 524_288, 131_072
"""Tokens of what training held out, which repeats; and of text with distractors, one after so many."""
EVERY = 256
NOISE = " The grass is green. The sky is blue. The sun is yellow. Here we go. There and back again."
"""RULER's repeated noise (arXiv:2404.06654)."""


def haystacks(kind: Kind, tokenizer: Tokenizer, length: int, file: Path | None = None) -> dict[str, list[int]]:
    """Return all that the benchmark searches, by name.

    Args:
        kind: `text`, `dialogue` or `dna`.
        tokenizer: of the model.
        length: tokens that are wanted.
        file: a text that takes the place of the one that no model was trained on.

    Raises:
        ValueError: the file has no text; a library is missing.
    """
    rng = random.Random("haystacks")  # a seed, no secret
    source: Source = dna.Dna() if kind == "dna" else Prose(kind, tokenizer)
    long = of_file(kind, tokenizer, file) if file else unseen(kind, tokenizer, length)
    return {
        "unseen": long,
        "held out": source.haystack(rng, min(length, REPEATED), test=True),
        "distractors": sprinkled(long[:SPRINKLED], lambda: source.distractor(rng, test=True), EVERY),
        "noise": noise(tokenizer),
    }


def unseen(kind: Kind, tokenizer: Tokenizer, length: int) -> list[int]:
    """Return a long one.

    Args:
        kind: `text`, `dialogue` or `dna`.
        tokenizer: of the model.
        length: tokens that are wanted; prose is as long as there is.
    """
    if kind == "dna":
        return tokenizer.encode(dna.genome("needle", length)).ids
    found = [*documents(test=True), *_libraries()]
    # Else a stream would begin in one library and end in another.
    random.Random("haystack").shuffle(found)  # a seed, no secret
    return _encoded(kind, found, tokenizer)


def of_file(kind: Kind, tokenizer: Tokenizer, path: Path) -> list[int]:
    """Return a text file's tokens; of DNA, without the lines that name sequences.

    Raises:
        ValueError: it is empty, or no UTF-8.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path.name} is no UTF-8 text") from error
    if kind == "dna":
        text = "".join(line for line in text.splitlines() if not line.startswith((">", ";")))
    tokens: list[int] = tokenizer.encode(text).ids
    if not tokens:
        raise ValueError(f"{path.name} has no text")
    return tokens


def noise(tokenizer: Tokenizer) -> list[int]:
    """Return RULER's noise once; it is repeated."""
    found: list[int] = tokenizer.encode(NOISE).ids
    return found


def sprinkled(hay: Sequence[int], piece: Callable[[], Sequence[int]], every: int) -> list[int]:
    """Return a haystack with a piece after every so many of its tokens."""
    return [token for i in range(0, len(hay), every) for token in (*hay[i : i + every], *piece())]


def _encoded(kind: Kind, found: Sequence[Document], tokenizer: Tokenizer) -> list[int]:
    names = FAMILIES["dialogue"]["training"].names
    texts = (document.text if kind == "text" else "\n".join(turns(document, names)) for document in found)
    # One by one: it takes less memory than all at once.
    return [token for text in texts for token in tokenizer.encode(f"{text}\n").ids]


def _libraries() -> Iterator[Document]:
    for library in LIBRARIES:
        spec = find_spec(library)
        if spec is None or spec.origin is None:
            raise ValueError(f"the haystack is made of {library}'s docstrings, and it is not installed")
        root = Path(spec.origin).parent
        for path in sorted(root.rglob("*.py")):
            text = docstrings(path)
            if text:
                yield Document(f"{library} {path.relative_to(root).as_posix()}", text)
