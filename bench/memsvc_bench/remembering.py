"""An encoder for benchmarks that fold the same text many times."""

from collections.abc import Sequence

from memsvc.recall.encoder import Encoded, Encoder, Passage, Split


class Remembering:
    """An encoder that encodes each passage once, and each query; their bits are the encoder's."""

    def __init__(self, encoder: Encoder) -> None:
        self._encoder = encoder
        self._known: dict[bytes, Encoded] = {}
        self._alone: dict[bytes, Encoded] = {}
        self.name, self.dim, self.fingerprint = encoder.name, encoder.dim, encoder.fingerprint

    def split(self, texts: Sequence[str]) -> list[Split]:
        """See `Encoder.split`."""
        return self._encoder.split(texts)

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """See `Encoder.count_tokens`."""
        return self._encoder.count_tokens(texts)

    def encode(self, passages: Sequence[Passage]) -> list[Encoded]:
        """See `Encoder.encode`."""
        new = [p for p in passages if _key(p) not in self._known]
        self._known.update(zip(map(_key, new), self._encoder.encode(new), strict=True))
        return [self._known[_key(p)] for p in passages]

    def encode_alone(self, passage: Passage) -> Encoded:
        """See `Encoder.encode_alone`."""
        key = _key(passage)
        if key not in self._alone:
            self._alone[key] = self._encoder.encode_alone(passage)
        return self._alone[key]


def _key(passage: Passage) -> bytes:
    return bytes([passage.skip]) + passage.ids.tobytes()
