"""A model as tenants stream into it: by its name, from text, many of them at once."""

from collections.abc import Sequence

from memsvc.backbone.titans_mac.checkpoint import Loaded
from memsvc.backbone.titans_mac.stream import Advanced, Stream, advance, pack, start, unpack
from memsvc.errors import DataLossError, FailedPreconditionError

HASH_DIGITS = 12
END = "\n"
"""What follows each entry in the stream."""


class ContextModel:
    """A loaded model.

    Args:
        name: what it is called.
        loaded: its file's content.

    Attributes:
        identity: `<name>@<first 12 digits of its file's SHA-256>`.
        model: the network, ready to serve.
        tokenizer: from text to tokens and back.
        chunk: tokens of a chunk.
        longest: characters that one token may stand for.
        stream_bytes: what the state of one stream takes of the memory, at any length.

    Raises:
        FailedPreconditionError: its tokenizer has tokens that the network does not know.
    """

    def __init__(self, name: str, loaded: Loaded) -> None:
        self.identity = f"{name}@{loaded.digest[:HASH_DIGITS]}"
        self.model, self.tokenizer = loaded.model, loaded.tokenizer
        self.chunk = loaded.model.config.chunk
        if self.tokenizer.get_vocab_size() > self.model.config.vocabulary:
            raise FailedPreconditionError(f"the model {self.identity} has a tokenizer with more tokens than it knows")
        self.longest = max(map(len, self.tokenizer.get_vocab()))
        self._start = start(self.model)
        self.stream_bytes = sum(tensor.nbytes for tensor in self._start.state.tensors())

    def start(self) -> Stream:
        """Return the stream before its first token: always the same object, so that it costs a tenant nothing."""
        return self._start

    def bytes_of(self, stream: Stream) -> int:
        """Return what a stream takes of the memory beside the one at the start."""
        return 0 if stream.state is self._start.state else self.stream_bytes

    def tokens(self, text: str) -> list[int]:
        """Return a text's tokens."""
        # As a batch, or no other thread of Python's would run meanwhile.
        (encoded,) = self.tokenizer.encode_batch_fast([text], add_special_tokens=False)
        return list(encoded.ids)

    def text(self, tokens: Sequence[int]) -> str:
        """Return what tokens stand for."""
        return str(self.tokenizer.decode(list(tokens)))

    def entry(self, text: str) -> list[int]:
        """Return the tokens of an entry and of what ends it."""
        return self.tokens(text + END)

    def advance(self, streams: Sequence[Stream], tokens: Sequence[Sequence[int]]) -> list[Advanced]:
        """Return each stream after its tokens; what becomes of one does not depend on the others."""
        return advance(self.model, streams, tokens)

    def pack(self, stream: Stream) -> bytes:
        """Return a stream as bytes; equal streams give equal bytes."""
        return pack(stream, self.model.config)

    def unpack(self, data: bytes) -> Stream:
        """Return a packed stream, bit for bit.

        Raises:
            DataLossError: the bytes are no stream of this model.
        """
        stream = unpack(data, self.model)
        if any(not 0 <= token < self.model.config.vocabulary for token in stream.tail):
            raise DataLossError("a packed stream has tokens that its model does not know")
        return stream
