"""LoCoMo's conversations in one store, among so much else that it holds as many entries as are asked for."""

from collections.abc import Iterable, Sequence
from itertools import groupby, islice

from memsvc_bench.corpus import Passage, Question, Stream
from memsvc_bench.memory import merge
from memsvc_bench.service_texts import library


def corpus(streams: Sequence[Stream], entries: int, others: Iterable[Passage] | None = None) -> Stream:
    """Return the first entries of all conversations, and the questions whose answers are all among them.

    Where there are too few, the sentences of Python's documentation stand between the conversations' sessions.

    Args:
        streams: the conversations.
        entries: how many.
        others: what stands between them, in sessions, in place of Python's documentation.

    Raises:
        ValueError: there are not so many.
    """
    merged = merge(streams)
    lacking = entries - len(merged.entries)
    if lacking <= 0:
        asked = [question for question in merged.questions if max(question.gold) < entries]
        return Stream("first", merged.entries[:entries], asked)
    between = list(islice(library() if others is None else others, lacking))
    if len(between) < lacking:
        raise ValueError(f"there are {len(merged.entries) + len(between):,} entries, not {entries:,}")
    return _spread(merged, between)


def _spread(stream: Stream, between: Sequence[Passage]) -> Stream:
    """Put sessions evenly between the stream's own; its questions follow their answers."""
    placed: list[tuple[float, int, list[int]]] = []
    """Of each session: how far into its own stream it begins, whose it is, and its entries there."""
    for whose, passages in enumerate((stream.entries, between)):
        for _, group in groupby(enumerate(passages), key=lambda at: at[1].session):
            numbers = [i for i, _ in group]
            placed.append((numbers[0] / len(passages), whose, numbers))
    entries: list[Passage] = []
    moved: dict[int, int] = {}
    for _, whose, numbers in sorted(placed):
        for number in numbers:
            if whose == 0:
                moved[number] = len(entries)
            entries.append((stream.entries, between)[whose][number])
    questions = [Question(q.text, frozenset(moved[gold] for gold in q.gold), q.category) for q in stream.questions]
    return Stream("spread", entries, questions)
