"""A model as tenants stream into it."""

import pytest

from memsvc.backbone.titans_mac.stream import Stream
from memsvc.errors import DataLossError
from memsvc.tenant.context_stream import ContextStream
from tests.backbone.titans_mac.build import loaded, save


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    return loaded(save(tmp_path_factory.mktemp("models") / "small.safetensors"))


def test_an_entry_is_its_text_and_a_lines_end(small):
    text = "häuser " * 20
    assert small.text(small.entry(text)) == f"{text}\n"


def test_a_stream_takes_memory_from_its_first_chunk_on_and_none_of_its_neighbours(small):
    advanced = small.advance([small.start()] * 3, [[1], [2] * 40, [3] * 40])
    few, many, more = (each.stream for each in advanced)
    assert (small.bytes_of(small.start()), small.bytes_of(few)) == (0, 0)
    long = small.advance([small.start()], [[4] * 300])[0].stream
    for stream in (many, more, long):
        tensors = list(stream.state.tensors())
        assert small.bytes_of(stream) == sum(tensor.nbytes for tensor in tensors)
        assert all(tensor.untyped_storage().nbytes() == tensor.nbytes for tensor in tensors)


def test_what_is_no_stream_of_the_model_is_refused(small):
    stream = small.advance([small.start()], [[1, 2, 3]])[0].stream
    assert small.pack(small.unpack(small.pack(stream))) == small.pack(stream)
    for damaged in (b"", b"no stream", small.pack(Stream(stream.state, (256,)))):
        with pytest.raises(DataLossError):
            small.unpack(damaged)
    with pytest.raises(DataLossError):
        ContextStream("small", b"no stream").stream(small)
