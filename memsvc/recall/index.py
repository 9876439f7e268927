"""A tenant's index: entries in the order of their log records, with all that does not depend on a query worked out."""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from memsvc.errors import DataLossError
from memsvc.memory.importance import importance, lowest, surplus
from memsvc.recall.columns import Column, Names, Offsets, Vectors
from memsvc.recall.filter import Filter
from memsvc.recall.lexical import Lexical
from memsvc.recall.metadata_index import MetadataIndex
from memsvc.recall.rows import HASH_BYTES, NewEntry, Rows, gather, pack, unpack
from memsvc.recall.sessions import Chains, Sessions

SEGMENT_ENTRIES = 4_096
SEGMENT_PASSAGES = 4_096
"""A segment holds no more entries and, unless one entry alone has more, no more passages."""


ALIVE = np.iinfo(np.int64).max
"""The seq at which a living entry dies."""


class Cut(NamedTuple):
    """The index as of a seq: the first so many entries, those of them that live, and who stands beside whom."""

    size: int
    live: NDArray[np.bool_] | None
    """[size]; None where all live."""
    chains: Chains


class Index:
    """An append-only index. Entries have positions 0, 1, 2 ... here; their numbers and seqs ascend with them.

    An entry that dies keeps its place, so that a past state is a cut: the first so many entries, less those dead by
    then (`cut`).
    """

    def __init__(self, dim: int) -> None:
        """Make an empty index for vectors of this width."""
        self.dim = dim
        self.vectors = Vectors(dim)
        self.lexical = Lexical()
        self.sessions = Sessions()
        self._metadata = MetadataIndex()
        self._session_names, self._role_names = Names(), Names()
        self._session_names.add([""])  # ALONE
        self._number, self._seq, self._time = Column(np.int64), Column(np.int64), Column(np.int64)
        self._tokens, self._role = Column(np.int32), Column(np.int64)
        self._hash, self._learn = Column(np.uint8, HASH_BYTES), Column(np.bool_)
        self._died, self._evicted, self._dead = Column(np.int64), Column(np.int64), 0
        self._feedback = Column(np.int64)
        self._present: Cut | None = None
        """The cut now, worked out when it is asked for and some are dead."""
        self._passages, self._spans = Offsets(), Column(np.int32, 2)
        # What the memory said of each entry's tokens so far: sum of surprise, tokens stepped, tokens that wrote.
        self._surprise, self._stepped, self._wrote = Column(np.float64), Column(np.int64), Column(np.int64)

    def __len__(self) -> int:
        return len(self._number)

    @property
    def living(self) -> int:
        """Entries that live."""
        return len(self) - self._dead

    @property
    def learnt_passages(self) -> NDArray[np.int64]:
        """The places in `vectors` of the passages of entries that learn, in order."""
        return np.flatnonzero(np.repeat(self._learn.values, np.diff(self._passages.starts)))

    @property
    def passages(self) -> int:
        """Passages of all entries."""
        return len(self.vectors)

    @property
    def nbytes(self) -> int:
        """About how many bytes of memory are held."""
        signals = self.vectors.nbytes + self.lexical.nbytes + self.sessions.nbytes + self._metadata.nbytes
        names = self._session_names.nbytes + self._role_names.nbytes
        return signals + names + self._passages.nbytes + sum(column.nbytes for column in self._columns())

    def add(self, entries: Sequence[NewEntry]) -> None:
        """Append entries. All of them or, after an error, none.

        Raises:
            ValueError: numbers do not ascend, seqs descend, or an entry has no passage or vectors of another width.
            InvalidArgumentError: an entry's metadata is not a JSON object.
        """
        if not entries:
            return
        if any(e.vectors.ndim != 2 or e.vectors.shape[1] != self.dim or not len(e.vectors) for e in entries):
            raise ValueError(f"each entry needs vectors [p, {self.dim}]")
        if any(len(e.spans) != len(e.vectors) for e in entries):
            raise ValueError("each passage needs a span")
        rows = gather(entries)
        if not self._follows(rows):
            raise ValueError("entries must ascend by number and seq")
        self._extend(rows)

    def cut(self, as_of: int | None) -> Cut:
        """Return the index as of a seq; None is now."""
        count = len(self) if as_of is None else int(np.searchsorted(self._seq.values, as_of, "right"))
        if not self._dead:
            return Cut(count, None, self.sessions.chains(count))
        if as_of is not None:
            gone = np.minimum(self._died.values[:count], self._evicted.values[:count])
            return self._cut(count, gone > as_of)
        if self._present is None:
            self._present = self._cut(count, self._lives)
        return self._present

    def _cut(self, count: int, live: NDArray[np.bool_]) -> Cut:
        return Cut(count, live, Chains.of(self.sessions.session[:count], live))

    @property
    def _lives(self) -> NDArray[np.bool_]:
        lives: NDArray[np.bool_] = (self._died.values == ALIVE) & (self._evicted.values == ALIVE)
        return lives

    def hide(self, numbers: Iterable[int], seq: int) -> int:
        """Let entries die at a seq: replaced, deleted, expired, forgotten. Return how many that were.

        Those that are not here, or dead, are passed over.
        """
        died = 0
        for position in self._positions(numbers):
            if self._died.values[position] == ALIVE:
                self._died.values[position] = seq
                self._dead += bool(self._evicted.values[position] == ALIVE)
                died += 1
        self._present = None
        return died

    def rate(self, numbers: Iterable[int], by: int) -> None:
        """Add to the feedback on entries; those that are not here are passed over."""
        for position in self._positions(numbers):
            self._feedback.values[position] += by

    def importance(self) -> NDArray[np.float64]:
        """Return every entry's importance, [n]."""
        stepped, tokens = self._stepped.values, self._tokens.values.astype(np.float64)
        surprise = np.divide(self._surprise.values, stepped, out=np.full(len(self), np.nan), where=stepped > 0)
        written = np.cumsum(tokens)
        age = written[-1:] - written
        return importance(surprise, tokens, age, self._feedback.values.astype(np.float64))

    def resample(self, most: int, seq: int) -> int:
        """Let the least important of the living leave where there are more than `most`; return how many left."""
        if not (count := surplus(self.living, most)):
            return 0
        living = np.flatnonzero(self._lives)
        leaving = living[lowest(self.importance()[living], count)]
        self._evicted.values[leaving] = seq
        self._dead += len(leaving)
        self._present = None
        return len(leaving)

    def take_back(self, most: int) -> int:
        """Let the most important of those that left come back, up to `most` in all; return how many did."""
        away = np.flatnonzero((self._died.values == ALIVE) & (self._evicted.values != ALIVE))
        room = min(most - self.living, len(away))
        if room <= 0:
            return 0
        staying = lowest(self.importance()[away], len(away) - room)
        self._evicted.values[np.delete(away, staying)] = ALIVE
        self._dead -= room
        self._present = None
        return room

    @property
    def evicted(self) -> int:
        """Entries that left and would live else."""
        return int(np.count_nonzero((self._died.values == ALIVE) & (self._evicted.values != ALIVE)))

    def is_evicted(self, number: int) -> bool:
        """Whether an entry left because there were too many."""
        return any(self._evicted.values[position] != ALIVE for position in self._positions([number]))

    def content(self) -> bytes:
        """Return a hash of the living entries' content and feedback, in order."""
        live = self._lives
        digest = hashlib.sha256(self._hash.values[live].tobytes())
        digest.update(self._feedback.values[live].tobytes())
        return digest.digest()

    def number(self, position: int) -> int:
        """Return an entry's number."""
        return int(self._number.values[position])

    def products(self, queries: NDArray[np.float32], count: int) -> NDArray[np.float64]:
        """Return the products of queries [q, d] with all passages of the first `count` entries, as [q, p]."""
        return self.vectors.products(queries, int(self._passages.starts[count]))

    def best(self, passage_scores: NDArray[np.float64], count: int) -> NDArray[np.float64]:
        """Return each entry's best passage's score, [count], from passage scores [p]."""
        if len(passage_scores) == count:
            return passage_scores
        best: NDArray[np.float64] = np.maximum.reduceat(passage_scores, self._passages.starts[:count])
        return best

    def span(self, position: int, passage_scores: NDArray[np.float64]) -> tuple[int, int]:
        """Return start and end, in code points, of the entry's passage that scores highest."""
        passages = self._passages.slice(position, position + 1)
        start, end = self._spans.values[passages][np.argmax(passage_scores[passages])].tolist()
        return start, end

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
        position = self._position(number)
        self._surprise.values[position] += total
        self._stepped.values[position] += tokens
        self._wrote.values[position] += wrote

    def surprise_of(self, number: int) -> tuple[float, int, int]:
        """Return the summed surprise of an entry's tokens stepped so far, their number, and how many wrote.

        Raises:
            KeyError: there is no such entry.
        """
        position = self._position(number)
        columns = (self._surprise, self._stepped, self._wrote)
        total, stepped, wrote = (column.values[position] for column in columns)
        return float(total), int(stepped), int(wrote)

    def segments(self, since: int = 0) -> dict[str, bytes]:
        """Return, in order, immutable segments of the entries after the first `since`. Surprise is not in them."""
        segments = {}
        while since < len(self):
            room = self._passages.starts[since] + SEGMENT_PASSAGES
            stop = int(np.searchsorted(self._passages.starts, room, "right")) - 1
            stop = min(max(stop, since + 1), since + SEGMENT_ENTRIES)
            segments[f"index-{since:012d}-{stop:012d}"] = pack(self._rows(since, stop))
            since = stop
        return segments

    def changing_bytes(self) -> bytes:
        """Return what changes after an entry is added, so that no segment has it: surprise, death, feedback."""
        columns = [column.values for column in self._changing()]
        return b"".join(c.astype(c.dtype.newbyteorder("<"), copy=False).tobytes() for c in columns)

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
            index._load_changing(changing)
        return index

    def _load_changing(self, data: bytes) -> None:
        columns = self._changing()
        if len(data) != 8 * len(columns) * len(self):
            raise DataLossError("the surprise of the entries does not fit their number")
        for i, column in enumerate(columns):
            dtype = column.values.dtype.newbyteorder("<")
            column.values[:] = np.frombuffer(data, dtype, len(self), 8 * len(self) * i)
        self._dead = int(np.count_nonzero(~self._lives))

    def _changing(self) -> tuple[Column, ...]:
        return (self._surprise, self._stepped, self._wrote, self._died, self._evicted, self._feedback)

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
        return bool((number[1:] > number[:-1]).all() and (seq[1:] >= seq[:-1]).all())

    def _columns(self) -> tuple[Column, ...]:
        given = (self._number, self._seq, self._time, self._tokens, self._role, self._spans, self._hash, self._learn)
        return (*given, *self._changing())

    def _extend(self, rows: Rows) -> None:
        n = len(rows.number)
        self._number.extend(rows.number)
        self._seq.extend(rows.seq)
        self._time.extend(rows.time_us)
        self._tokens.extend(rows.tokens)
        self._hash.extend(rows.content_hash)
        self._learn.extend(rows.learn)
        self._died.extend(np.full(n, ALIVE))
        self._evicted.extend(np.full(n, ALIVE))
        self._feedback.extend(np.zeros(n, np.int64))
        self._present = None
        self._passages.extend(rows.passages)
        self._spans.extend(rows.spans)
        self.vectors.extend(rows.vectors)
        self.sessions.extend(self._session_names.add(rows.sessions)[rows.session])
        self._role.extend(self._role_names.add(rows.roles)[rows.role])
        self.lexical.extend(self.lexical.terms.add(rows.terms)[rows.term], rows.times, rows.term_count)
        keys, texts = self._metadata.keys.add(rows.keys), self._metadata.texts.add(rows.values)
        self._metadata.extend(keys[rows.key], texts[rows.value], rows.key_count)
        self._surprise.extend(np.zeros(n))
        self._stepped.extend(np.zeros(n, np.int64))
        self._wrote.extend(np.zeros(n, np.int64))

    def _rows(self, start: int, stop: int) -> Rows:
        passages = self._passages.slice(start, stop)
        terms, keys = self.lexical.offsets.slice(start, stop), self._metadata.offsets.slice(start, stop)
        session, sessions = _localise(self.sessions.session[start:stop], self._session_names.names)
        role, roles = _localise(self._role.values[start:stop], self._role_names.names)
        term, words = _localise(self.lexical.term.values[terms], self.lexical.terms.names)
        key, names = _localise(self._metadata.key.values[keys], self._metadata.keys.names)
        value, texts = _localise(self._metadata.value.values[keys], self._metadata.texts.names)
        return Rows(
            number=self._number.values[start:stop],
            seq=self._seq.values[start:stop],
            time_us=self._time.values[start:stop],
            tokens=self._tokens.values[start:stop],
            content_hash=self._hash.values[start:stop],
            learn=self._learn.values[start:stop],
            passages=self._passages.counts(start, stop),
            vectors=self.vectors.slice(passages.start, passages.stop),
            spans=self._spans.values[passages],
            session=session,
            role=role,
            term_count=self.lexical.offsets.counts(start, stop),
            term=term,
            times=self.lexical.times.values[terms],
            key_count=self._metadata.offsets.counts(start, stop),
            key=key,
            value=value,
            sessions=sessions,
            roles=roles,
            terms=words,
            keys=names,
            values=texts,
        )


def _localise(numbers: NDArray[Any], names: Sequence[str]) -> tuple[NDArray[np.uint32], list[str]]:
    used, local = np.unique(numbers, return_inverse=True)
    return local.astype(np.uint32), [names[i] for i in used.tolist()]
