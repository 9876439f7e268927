"""A tenant's index: entries in the order of their log records, with all that does not depend on a query worked out."""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress

import numpy as np
from numpy.typing import NDArray

from memsvc.errors import DataLossError
from memsvc.recall.columns import Column, Names
from memsvc.recall.cut import Cut
from memsvc.recall.filter import Filter
from memsvc.recall.lives import ALIVE, Lives
from memsvc.recall.metadata_index import MetadataIndex
from memsvc.recall.rows import HASH_BYTES, KEY_BYTES, NewEntry, Rows, gather, localise, pack, unpack
from memsvc.recall.sessions import ALONE, Sessions
from memsvc.recall.texts import Texts

SEGMENT_ENTRIES = 4_096
SEGMENT_PASSAGES = 4_096
"""A segment holds no more entries and, unless one entry alone has more, no more passages."""
NO_ROLE = 0
"""The number of the role ""."""
ENTRY_LOST, TEXT_LOST = 1, 2
"""What is destroyed of an entry: what is its own, or the text that it brought as well."""


class Index:
    """An append-only index. Entries have positions 0, 1, 2 ... here; their numbers and seqs ascend with them.

    An entry that dies keeps its place, so that a past state is a cut: the first so many entries, less those dead by
    then (`cut`). One that repeats another's text shares it: vectors and words belong to texts (`texts`), the rest to
    entries.
    """

    def __init__(self, dim: int) -> None:
        """Make an empty index for vectors of this width."""
        self.dim = dim
        self.texts = Texts(dim)
        self.sessions = Sessions()
        self._metadata = MetadataIndex()
        self._session_names, self._role_names = Names(), Names()
        self._session_names.add([""])  # ALONE
        self._role_names.add([""])  # NO_ROLE
        self._number, self._seq, self._time = Column(np.int64), Column(np.int64), Column(np.int64)
        self._tokens, self._length, self._role = Column(np.int32), Column(np.int32), Column(np.int64)
        self._text, self._text_key = Column(np.int64), Column(np.uint8, KEY_BYTES, cold=True)
        self._first = Column(np.int64)
        """Per text, the position of the first entry that has it."""
        self._hash, self._learn = Column(np.uint8, HASH_BYTES, cold=True), Column(np.bool_)
        self._lives = Lives()
        self._lost_from = self._saving_without = ALIVE
        """Seqs of the first entry of which something may be destroyed: since the last save began, and before."""
        self._present: Cut | None = None
        """The cut now, worked out when it is asked for and some are dead, or share a text."""

    def __len__(self) -> int:
        return len(self._number)

    @property
    def living(self) -> int:
        """Entries that live."""
        return self._lives.living

    @property
    def learnt_passages(self) -> NDArray[np.int64]:
        """The places in `vectors` of the passages of entries that learn, in order."""
        learn = self._learn.values[self._first.values]
        return np.flatnonzero(np.repeat(learn, np.diff(self.texts.starts)))

    def holds(self, numbers: NDArray[np.int64]) -> bool:
        """Whether entries of all these numbers are here, dead or alive."""
        return bool(np.isin(numbers, self._number.values).all())

    @property
    def newest(self) -> tuple[int, int]:
        """The number and the seq of the last entry; 0 and 0 where there is none."""
        return (int(self._number.values[-1]), int(self._seq.values[-1])) if len(self) else (0, 0)

    @property
    def passages(self) -> int:
        """Passages of all texts."""
        return len(self.texts.vectors)

    @property
    def merged(self) -> int:
        """Living entries whose text another living entry has as well, all but one for each text."""
        if len(self.texts) == len(self):
            return 0
        return self.living - len(np.unique(self._text.values[self._lives.lives]))

    def living_texts(self) -> Iterator[tuple[int, bytes]]:
        """Yield the number and the text's key of each entry that did not die, those that were evicted too, in order."""
        for position in self._lives.undead:
            yield self.number(position), self._text_key.values[position].tobytes()

    @property
    def nbytes(self) -> int:
        """About how many bytes of memory are held."""
        signals = self.texts.nbytes + self.sessions.nbytes + self._metadata.nbytes
        names = self._session_names.nbytes + self._role_names.nbytes
        return signals + names + self._lives.nbytes + sum(column.nbytes for column in self._columns())

    def add(self, entries: Sequence[NewEntry]) -> None:
        """Append entries. All of them or, after an error, none.

        Raises:
            ValueError: numbers do not ascend, seqs descend, an entry that repeats none has no passage or vectors of
                another width, or one repeats an entry that is not here.
            InvalidArgumentError: an entry's metadata is not a JSON object.
        """
        if not entries:
            return
        own = [e for e in entries if e.repeats is None]
        if any(e.vectors.ndim != 2 or e.vectors.shape[1] != self.dim or not len(e.vectors) for e in own):
            raise ValueError(f"each entry needs vectors [p, {self.dim}]")
        if any(len(e.spans) != len(e.vectors) for e in own):
            raise ValueError("each passage needs a span")
        rows = gather(entries, self._texts_for(entries), self.dim)
        if not self._follows(rows):
            raise ValueError("entries must ascend by number and seq")
        self._extend(rows)

    def _texts_for(self, entries: Sequence[NewEntry]) -> list[int]:
        """Return the numbers of the texts that entries to come will have."""
        texts: dict[int, int] = {}
        made = len(self.texts)
        for entry in entries:
            if entry.repeats is None:
                texts[entry.number] = made
                made += 1
            elif (text := texts.get(entry.repeats)) is not None:
                texts[entry.number] = text
            else:
                try:
                    texts[entry.number] = int(self._text.values[self._position(entry.repeats)])
                except KeyError as error:
                    raise ValueError("an entry repeats one that is not here") from error
        return list(texts.values())

    def cut(self, as_of: int | None) -> Cut:
        """Return the index as of a seq; None is now."""
        count = len(self) if as_of is None else int(np.searchsorted(self._seq.values, as_of, "right"))
        if self.living == len(self) == len(self.texts):
            return Cut(count, None, self.sessions.chains(count), count)
        if as_of is not None:
            return self._cut(count, self._lives.lived(count, as_of))
        if self._present is None:
            self._present = self._cut(count, self._lives.lives)
        return self._present

    def _cut(self, count: int, live: NDArray[np.bool_]) -> Cut:
        return Cut.of(self.sessions.session[:count], self._text.values[:count], self._texts_before(count), live)

    def _texts_before(self, position: int) -> int:
        """Return how many texts the entries before a position have."""
        return int(np.searchsorted(self._first.values, position))

    def hide(self, numbers: Iterable[int], seq: int) -> int:
        """Let entries die at a seq: replaced, deleted, expired, forgotten. Return how many that were.

        Those that are not here, or dead, are passed over.
        """
        died = 0
        for position in self._positions(numbers):
            if self._lives.die(position, seq):
                died += 1
                if not self._learn.values[position]:
                    # Whoever brought its text comes first, and has it as long as one that shares it lives.
                    first = self._first.values[self._text.values[position]]
                    self.lose_from(int(self._seq.values[first]))
        self._present = None
        return died

    @property
    def lost_from(self) -> int:
        """The seq of the first entry of which something may be destroyed that is saved; ALIVE where none is."""
        return min(self._lost_from, self._saving_without)

    def lose_from(self, seq: int) -> None:
        """Take note that of an entry of this record something may be destroyed."""
        self._lost_from = min(self._lost_from, seq)

    def begin_save(self) -> int:
        """Return `lost_from`: what is destroyed later, `saved_without_lost` does not count."""
        self._saving_without, self._lost_from = self.lost_from, ALIVE
        return self._saving_without

    def saved_without_lost(self) -> None:
        """Take note that no snapshot has what was destroyed when the last save began."""
        self._saving_without = ALIVE

    def losses(self) -> NDArray[np.uint8]:
        """Return what is destroyed of each entry, [n]: 0, ENTRY_LOST or TEXT_LOST.

        An entry that does not learn is destroyed when it dies, and a text with the last entry that has it.
        """
        dead = np.ones(len(self), bool)
        dead[self._lives.undead] = False
        lost = dead & ~self._learn.values
        if not lost.any():  # the rule; a save must not pay for the rest of it
            return np.zeros(len(self), np.uint8)
        text = self._text.values
        kept = np.zeros(len(self.texts), bool)
        kept[text[~dead]] = True
        brought = self._first.values[text] == np.arange(len(self))
        return np.where(lost & brought & ~kept[text], TEXT_LOST, np.where(lost, ENTRY_LOST, 0)).astype(np.uint8)

    @property
    def lost(self) -> NDArray[np.int64]:
        """The numbers of the entries of which something is destroyed."""
        numbers: NDArray[np.int64] = self._number.values[self.losses() > 0]
        return numbers

    def seq(self, position: int) -> int:
        """Return the seq of an entry's record."""
        return int(self._seq.values[position])

    def rate(self, numbers: Iterable[int], by: int) -> None:
        """Add to the feedback on entries; those that are not here are passed over."""
        for position in self._positions(numbers):
            self._lives.rate(position, by)

    def importance(self) -> NDArray[np.float64]:
        """Return every entry's importance, [n]."""
        return self._lives.importance(self._text_tokens)

    def resample(self, most: int, seq: int) -> int:
        """Let the least important of the living leave where there are more than `most`; return how many left."""
        left = self._lives.resample(self._text_tokens, most, seq)
        self._present = None if left else self._present
        return left

    def take_back(self, most: int) -> int:
        """Let the most important of those that left come back, up to `most` in all; return how many did."""
        self._present = None
        return self._lives.take_back(self._text_tokens, most)

    @property
    def _text_tokens(self) -> NDArray[np.int32]:
        """How many tokens each entry's text has, [n]; one that repeats another was not tokenised."""
        tokens: NDArray[np.int32] = self._tokens.values[self._first.values[self._text.values]]
        return tokens

    @property
    def evicted(self) -> int:
        """Entries that left and would live else."""
        return self._lives.evicted

    def is_evicted(self, number: int) -> bool:
        """Whether an entry left because there were too many."""
        return any(self._lives.is_evicted(position) for position in self._positions([number]))

    def content(self) -> bytes:
        """Return a hash of the living entries' content and feedback, in order, and of who shares whose text."""
        live = self._lives.lives
        digest = hashlib.sha256(self._hash.values[live].tobytes())
        digest.update(self._lives.feedback[live].tobytes())
        # Of what does not learn the text may be gone at the next fold, and with it which entry had it first.
        texts = self._text.values[live & self._learn.values]
        distinct, shared = np.unique(texts, return_inverse=True)
        if len(distinct) < len(texts):
            digest.update(shared.astype("<i8").tobytes())
        return digest.digest()

    def number(self, position: int) -> int:
        """Return an entry's number."""
        return int(self._number.values[position])

    def span(self, position: int, passage_scores: NDArray[np.float64]) -> tuple[int, int]:
        """Return start and end, in code points, of the entry's passage that scores highest.

        Where an entry says its text in another length than the one that it repeats, that is all of it.
        """
        text = int(self._text.values[position])
        length = int(self._length.values[position])
        if length != int(self._length.values[self._first.values[text]]):
            return 0, length
        return self.texts.span(text, passage_scores)

    def select(self, filter: Filter, count: int) -> NDArray[np.bool_]:
        """Return which of the first `count` entries match."""
        selected = self._metadata.select(filter.metadata, count)
        if filter.session is not None:
            selected &= self.sessions.session[:count] == self._session_names.find(filter.session)
        if filter.role is not None:
            selected &= self._role.values[:count] == self._role_names.find(filter.role)
        if filter.after_us is not None:
            selected &= self._time.values[:count] >= filter.after_us
        if filter.before_us is not None:
            selected &= self._time.values[:count] < filter.before_us
        return selected

    def neighbours(self, number: int, n: int) -> tuple[list[int], list[int]]:
        """Return the numbers of up to n entries before and after one in its session, in the order of writing.

        Raises:
            KeyError: there is no such entry.
        """
        before, after = self.cut(None).chains.around(self._position(number), n)
        return [self.number(i) for i in before], [self.number(i) for i in after]

    def add_surprise(self, number: int, total: float, tokens: int, wrote: int) -> None:
        """Count tokens of an entry that the memory has stepped over, their summed surprise, and how many wrote.

        Raises:
            KeyError: there is no such entry.
        """
        self._lives.add_surprise(self._position(number), total, tokens, wrote)

    def surprise_of(self, number: int) -> tuple[float, int, int]:
        """Return the summed surprise of an entry's tokens stepped so far, their number, and how many wrote.

        Raises:
            KeyError: there is no such entry.
        """
        return self._lives.surprise_of(self._position(number))

    def segments(self, since: int = 0) -> dict[str, bytes]:
        """Return, in order, immutable segments of the entries after the first `since`. Surprise is not in them."""
        segments, losses = {}, self.losses()
        texts = np.searchsorted(self._first.values, np.arange(len(self) + 1))
        passages = self.texts.starts[texts]
        """[n + 1], before each entry."""
        while since < len(self):
            stop = int(np.searchsorted(passages, passages[since] + SEGMENT_PASSAGES, "right")) - 1
            stop = min(max(stop, since + 1), since + SEGMENT_ENTRIES)
            name, data = self.segment(since, stop, losses)
            segments[name] = data
            since = stop
        return segments

    def segment(self, start: int, stop: int, losses: NDArray[np.uint8]) -> tuple[str, bytes]:
        """Return the name and the bytes of one segment, without what is destroyed by `losses` [n]."""
        data = pack(self._rows(start, stop, losses))
        # A name stands for the same bytes always, and the same places for other entries once some are destroyed: a log
        # that is folded again then comes to an index without them, and its snapshots may lie beside those of before.
        return f"index-{start:012d}-{stop:012d}-{hashlib.sha256(data).hexdigest()[:16]}", data

    def changing_bytes(self) -> bytes:
        """Return what changes after an entry is added, so that no segment has it: surprise, death, feedback."""
        return self._lives.to_bytes()

    @classmethod
    def load(cls, dim: int, segments: Iterable[bytes], changing: bytes | None = None) -> "Index":
        """Return the index that `segments` (in order, from the first entry on) and `changing_bytes` were taken from.

        Raises:
            DataLossError: a segment is damaged, missing, or of another width.
        """
        index = cls(dim)
        for data in segments:
            rows = unpack(data)
            if rows.vectors.shape[1] != dim or not index._follows(rows):
                raise DataLossError("a segment of the index does not follow the one before")
            try:
                index._extend(rows)
            except ValueError as error:
                raise DataLossError("a segment of the index does not fit together") from error
        if changing is not None:
            index._lives.load(changing)
        return index

    def _positions(self, numbers: Iterable[int]) -> Iterator[int]:
        for number in numbers:
            with suppress(KeyError):
                yield self._position(number)

    def _position(self, number: int) -> int:
        position = int(np.searchsorted(self._number.values, number))
        if position == len(self) or self._number.values[position] != number:
            raise KeyError(number)
        return position

    def _follows(self, rows: Rows) -> bool:
        number = np.concatenate([self._number.values[-1:], rows.number])
        seq = np.concatenate([self._seq.values[-1:], rows.seq])
        texts, made = len(self.texts), len(rows.passages)
        newest = np.maximum.accumulate(np.concatenate([[texts - 1], rows.text]))
        return bool(
            (number[1:] > number[:-1]).all()
            and (seq[1:] >= seq[:-1]).all()
            and (np.diff(newest) <= 1).all()
            and newest[-1] == texts + made - 1
            and rows.text.min(initial=0) >= 0
        )

    def _columns(self) -> tuple[Column, ...]:
        given = (self._number, self._seq, self._time, self._tokens, self._length, self._role, self._hash, self._learn)
        return (*given, self._text, self._text_key, self._first)

    def _extend(self, rows: Rows) -> None:
        newest = np.maximum.accumulate(np.concatenate([[len(self.texts) - 1], rows.text]))
        self._first.extend(len(self) + np.flatnonzero(np.diff(newest)))
        self._text.extend(rows.text)
        self._text_key.extend(rows.text_key)
        self._length.extend(rows.length)
        self._number.extend(rows.number)
        self._seq.extend(rows.seq)
        self._time.extend(rows.time_us)
        self._tokens.extend(rows.tokens)
        self._hash.extend(rows.content_hash)
        self._learn.extend(rows.learn)
        self._lives.extend(len(rows.number))
        self._present = None
        self.texts.extend(rows.passages, rows.vectors, rows.spans)
        self.sessions.extend(self._session_names.add(rows.sessions)[rows.session])
        self._role.extend(self._role_names.add(rows.roles)[rows.role])
        lexical = self.texts.lexical
        lexical.extend(lexical.terms.add(rows.terms)[rows.term], rows.times, rows.term_count)
        keys, texts = self._metadata.keys.add(rows.keys), self._metadata.texts.add(rows.values)
        self._metadata.extend(keys[rows.key], texts[rows.value], rows.key_count)

    def _rows(self, start: int, stop: int, losses: NDArray[np.uint8]) -> Rows:
        """Return entries as columns. Of what is destroyed there is when it was written, and how long it was.

        The fold still counts these: ages are told by all that was written.
        """
        lost = losses[start:stop] >= ENTRY_LOST
        first, last = self._texts_before(start), self._texts_before(stop)
        passages, vectors, spans = self.texts.slice(first, last)
        lexical = self.texts.lexical
        lost_text = losses[self._first.values[first:last]] == TEXT_LOST
        passage_lost = np.repeat(lost_text, passages)[:, None]
        vectors, spans = np.where(passage_lost, np.float32(0), vectors), np.where(passage_lost, np.int32(0), spans)
        terms, keys = lexical.offsets.slice(first, last), self._metadata.offsets.slice(start, stop)
        term_count, key_count = lexical.offsets.counts(first, last), self._metadata.offsets.counts(start, stop)
        of_term, of_key = np.repeat(~lost_text, term_count), np.repeat(~lost, key_count)
        session, sessions = localise(
            np.where(lost, ALONE, self.sessions.session[start:stop]), self._session_names.names
        )
        role, roles = localise(np.where(lost, NO_ROLE, self._role.values[start:stop]), self._role_names.names)
        term, words = localise(lexical.term.values[terms][of_term], lexical.terms.names)
        key, names = localise(self._metadata.key.values[keys][of_key], self._metadata.keys.names)
        value, texts = localise(self._metadata.value.values[keys][of_key], self._metadata.texts.names)
        return Rows(
            number=self._number.values[start:stop],
            seq=self._seq.values[start:stop],
            time_us=self._time.values[start:stop],
            tokens=self._tokens.values[start:stop],
            length=self._length.values[start:stop],
            content_hash=np.where(lost[:, None], np.uint8(0), self._hash.values[start:stop]),
            learn=self._learn.values[start:stop],
            text=self._text.values[start:stop],
            text_key=np.where(lost[:, None], np.uint8(0), self._text_key.values[start:stop]),
            passages=passages,
            vectors=vectors,
            spans=spans,
            session=session,
            role=role,
            term_count=np.where(lost_text, np.int32(0), term_count),
            term=term,
            times=lexical.times.values[terms][of_term],
            key_count=np.where(lost, np.int32(0), key_count),
            key=key,
            value=value,
            sessions=sessions,
            roles=roles,
            terms=words,
            keys=names,
            values=texts,
        )
