"""An encoder whose memories step in no time."""

import numpy as np

from memsvc.recall.kmer import KmerEncoder
from memsvc.recall.passages import Encoded

WIDTH = 16


class Narrow(KmerEncoder):
    """The first dimensions of the k-mer encoder."""

    dim = WIDTH

    def encode(self, passages):
        return [_narrow(encoded) for encoded in super().encode(passages)]

    def encode_alone(self, passage):
        return _narrow(super().encode_alone(passage))


def _narrow(encoded: Encoded) -> Encoded:
    states, pooled = encoded.states[:, :WIDTH], encoded.pooled[:WIDTH]
    return Encoded(states / np.linalg.norm(states, axis=1, keepdims=True), pooled / np.linalg.norm(pooled))
