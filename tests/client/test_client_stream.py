"""write_stream of both clients."""

import itertools
import threading

import pytest
from fake_server import Fail
from google.protobuf.duration_pb2 import Duration
from google.rpc.error_details_pb2 import ErrorInfo, RetryInfo
from grpc import StatusCode
from memsvc_client import (
    AlreadyExistsError,
    DeadlineExceededError,
    Entry,
    InvalidArgumentError,
    MemsvcError,
    NotFoundError,
    UnavailableError,
)

from memsvc.v1 import memory_pb2

CUT = Fail(StatusCode.UNAVAILABLE, "cut")


def kinds(stream):
    return [request.WhichOneof("message") for request in stream]


def batches(stream):
    return [[entry.text for entry in request.batch.entries] for request in stream if request.HasField("batch")]


def numbered(n, size=1):
    """Return n batches of `size` entries each."""
    return [[f"{i}.{j}" for j in range(size)] for i in range(n)]


def test_entries_are_gathered_into_batches(client, fake):
    texts = [str(i) for i in range(150)]
    receipts = list(client.write_stream("ada", (Entry(text) if i % 2 else text for i, text in enumerate(texts))))
    assert [len(receipt.ids) for receipt in receipts] == [64, 64, 22]
    assert [receipt.seq for receipt in receipts] == [1, 2, 3]
    assert [i for receipt in receipts for i in receipt.ids] == list(fake.tenants["ada"])
    assert fake.texts("ada") == texts
    (stream,) = fake.streams
    assert kinds(stream) == ["open", "batch", "batch", "batch", "flush"]
    assert stream[0].open.tenant == "ada"


def test_batches_of_long_texts_stay_small(client, fake):
    texts = [letter * 30_000 for letter in "abcde"]
    assert [len(receipt.ids) for receipt in client.write_stream("ada", texts)] == [2, 2, 1]
    assert fake.texts("ada") == texts
    assert all(request.ByteSize() < 66_000 for request in fake.streams[0])


def test_a_list_is_a_batch_of_its_own(client, fake):
    receipts = list(client.write_stream("ada", ["a", ["b", Entry("c")], "d", "e", ("f",)]))
    assert batches(fake.streams[0]) == [["a"], ["b", "c"], ["d", "e"], ["f"]]
    assert [len(receipt.ids) for receipt in receipts] == [1, 2, 2, 1]


@pytest.mark.parametrize("one", ["text", Entry("text")])
def test_one_entry_is_a_stream_too(client, fake, one):
    assert len(list(client.write_stream("ada", one))) == 1
    assert fake.texts("ada") == ["text"]


def test_an_empty_stream_still_asks_the_server(client, fake):
    assert list(client.write_stream("ada", [])) == []
    assert kinds(fake.streams[0]) == ["open", "flush"]
    with pytest.raises(NotFoundError):
        list(client.write_stream("nobody", []))


def test_the_half_close_waits_for_the_answer_to_the_flush(client, fake):
    order = []

    def plan(requests, context):
        next(requests)
        yield memory_pb2.WriteStreamResponse(window=1 << 20, opened=memory_pb2.WriteStreamOpened())
        for request in requests:
            kind = request.WhichOneof("message")
            order.append(kind)
            if kind == "batch":
                yield memory_pb2.WriteStreamResponse(window=1 << 20, ack=fake.append("ada", request.batch.entries))
            else:
                order.append("answered")
                yield memory_pb2.WriteStreamResponse(flushed={"token": request.flush.token})
        gone = threading.Event()
        context.add_callback(gone.set)
        order.append("cancelled" if gone.wait(0.2) else "half-close")

    fake.plans.append(plan)
    assert len(list(client.write_stream("ada", numbered(2)))) == 2
    assert fake.over.wait(10)
    assert order == ["batch", "batch", "flush", "answered", "half-close"]


@pytest.mark.parametrize("window", [0, 1, 2_000, 1 << 20])
def test_no_more_is_on_the_way_than_the_window_lets(client, fake, window):
    """The server leaves every batch unanswered until no more come, and counts what did."""
    most = []

    def plan(requests, context):
        next(requests)
        yield memory_pb2.WriteStreamResponse(window=window, opened=memory_pb2.WriteStreamOpened())
        arrived, more = [], threading.Event()

        def read():
            for request in requests:
                arrived.append(request)
                more.set()

        threading.Thread(target=read, daemon=True).start()
        while True:
            while more.wait(0.03):
                more.clear()
            most.append(sum(request.ByteSize() for request in arrived if request.HasField("batch")))
            while arrived:
                request = arrived.pop(0)
                if request.HasField("flush"):
                    yield memory_pb2.WriteStreamResponse(flushed={"token": request.flush.token})
                    return
                yield memory_pb2.WriteStreamResponse(window=window, ack=fake.append("ada", request.batch.entries))

    fake.plans.append(plan)
    size = 500
    receipts = list(client.write_stream("ada", [["x" * size] for _ in range(12)]))
    assert len(receipts) == len(fake.texts("ada")) == 12
    assert max(most) <= max(window, size + 100)


def test_a_window_that_opens_later_is_used(client, fake):
    def plan(requests, context):
        next(requests)
        yield memory_pb2.WriteStreamResponse(window=0, opened=memory_pb2.WriteStreamOpened())
        first = next(requests)
        yield memory_pb2.WriteStreamResponse(window=0, ack=fake.append("ada", first.batch.entries))
        yield memory_pb2.WriteStreamResponse(window=1 << 20)
        rest = [next(requests) for _ in range(7)]  # none is answered before the last is here
        for request in rest:
            yield memory_pb2.WriteStreamResponse(window=1 << 20, ack=fake.append("ada", request.batch.entries))
        yield memory_pb2.WriteStreamResponse(flushed={"token": next(requests).flush.token})

    fake.plans.append(plan)
    assert len(list(client.write_stream("ada", numbered(8), timeout=5))) == 8


def test_a_slow_consumer_holds_the_source_back(client, fake):
    taken = itertools.count()
    stream = client.write_stream("ada", ([f"{next(taken)}"] for _ in itertools.count()))
    receipts = [next(stream) for _ in range(10)]
    stream.close()
    assert [receipt.seq for receipt in receipts] == list(range(1, 11))
    assert next(taken) <= 10 + 64 + 1
    assert fake.over.wait(10)
    assert "flush" not in kinds(fake.streams[0])


@pytest.mark.parametrize("steps", [0, 1, 5])
def test_closing_early_ends_the_call(client, fake, steps):
    stream = client.write_stream("ada", ([str(i)] for i in itertools.count()))
    for _ in range(steps):
        next(stream)
    stream.close()
    assert list(stream) == []
    assert len(fake.streams) == (1 if steps else 0)
    if steps:
        assert fake.over.wait(10)


@pytest.mark.parametrize("late", [False, True], ids=["refused", "acknowledgement lost"])
@pytest.mark.parametrize("after", [0, 1, 3])
def test_a_stream_that_is_cut_is_resumed(client, fake, after, late):
    failure = Fail(StatusCode.UNAVAILABLE, "cut", late=late)
    fake.plans.append(fake.stream(acks=after, fail=failure))
    receipts = list(client.write_stream("ada", numbered(6, size=2)))
    assert fake.texts("ada") == [text for batch in numbered(6, size=2) for text in batch]
    assert [i for receipt in receipts for i in receipt.ids] == list(fake.tenants["ada"])
    first, second = fake.streams
    assert batches(second) == numbered(6, size=2)[after:]
    sent = {entry.text: entry.id for request in first for entry in request.batch.entries}
    assert all(sent.get(e.text, e.id) == e.id for request in second for e in request.batch.entries)
    assert [receipt.skipped[0] for receipt in receipts] == [late and i == after for i in range(6)]


def test_a_stream_that_the_server_ends_early_is_resumed(client, fake):
    fake.plans.append(fake.stream(acks=2))
    assert len(list(client.write_stream("ada", numbered(5)))) == 5
    assert fake.texts("ada") == [text for batch in numbered(5) for text in batch]
    assert len(fake.streams) == 2


def test_a_flush_that_is_lost_is_sent_again(client, fake):
    def plan(requests, context):
        for response in fake.stream()(requests, context):
            if response.HasField("flushed"):
                CUT.abort(context)
            yield response

    fake.plans.append(plan)
    assert len(list(client.write_stream("ada", numbered(3)))) == 3
    assert kinds(fake.streams[1]) == ["open", "flush"]


def test_reconnecting_is_bounded_while_nothing_is_acknowledged(client, fake):
    fake.plans.extend([fake.stream(acks=0, fail=CUT)] * 20)
    with pytest.raises(UnavailableError, match="cut"):
        list(client.write_stream("ada", numbered(3)))
    assert len(fake.streams) == 4


def test_every_acknowledgement_gives_new_tries(client, fake):
    fake.plans.extend([fake.stream(acks=1, fail=CUT), fake.stream(acks=0, fail=CUT)] * 9)
    assert len(list(client.write_stream("ada", numbered(9)))) == 9
    assert fake.texts("ada") == [text for batch in numbered(9) for text in batch]


def test_a_full_server_is_obeyed(client, fake):
    full = Fail(
        StatusCode.RESOURCE_EXHAUSTED,
        details=[ErrorInfo(reason="QUEUE_FULL"), RetryInfo(retry_delay=Duration(nanos=5_000_000))],
    )
    fake.plans.extend([fake.stream(acks=0, fail=full)] * 8)
    assert len(list(client.write_stream("ada", numbered(3)))) == 3
    assert len(fake.streams) == 9


def test_another_error_is_raised_after_the_receipts_before_it(client, fake):
    conflict = Fail(StatusCode.ALREADY_EXISTS, "other content", [ErrorInfo(reason="ID_CONFLICT")])
    fake.plans.extend([fake.stream(acks=2, fail=conflict), fake.stream(acks=0, fail=conflict)])
    stream = client.write_stream("ada", numbered(5))
    assert [next(stream).seq, next(stream).seq] == [1, 2]
    with pytest.raises(AlreadyExistsError, match="other content"):
        next(stream)
    assert len(fake.streams) <= 2
    assert len(fake.texts("ada")) == 2


@pytest.mark.parametrize("error", [KeyError("theirs"), UnavailableError("another server's")])
def test_what_the_source_raises_is_raised_as_it_is(client, fake, error):
    def source():
        yield ["a"]
        raise error

    with pytest.raises(type(error)) as raised:
        list(client.write_stream("ada", source()))
    assert raised.value is error
    assert fake.over.wait(10)
    assert len(fake.streams) == 1
    assert "flush" not in kinds(fake.streams[0])


def test_a_wrong_entry_ends_the_stream_before_it_is_sent(client, fake):
    with pytest.raises(InvalidArgumentError) as raised:
        list(client.write_stream("ada", ["a", "b", Entry("c", metadata=[])]))
    assert raised.value.field == "entries[2].metadata"
    assert "c" not in fake.texts("ada")
    with pytest.raises(InvalidArgumentError, match="at most 4,194,304"):
        list(client.write_stream("ada", [["x" * 60_000] * 80]))
    for item in ([], 7, {"text": "x"}):
        with pytest.raises(InvalidArgumentError):
            list(client.write_stream("ada", [item]))


def test_silence_has_an_end(client, fake):
    hold = threading.Event()
    fake.plans.append(fake.stream(hold=hold))
    with pytest.raises(DeadlineExceededError, match="without an answer"):
        list(client.write_stream("ada", numbered(2), timeout=0.2))
    hold.set()
    assert fake.over.wait(10)
    assert len(fake.streams) == 1


def test_a_server_that_says_it_is_there_is_waited_for(client, fake):
    """A message without an answer in it counts as a sign of life."""
    tick = threading.Event()

    def plan(requests, context):
        for response in fake.stream()(requests, context):
            for _ in range(6 * response.HasField("ack")):
                tick.wait(0.2)
                yield memory_pb2.WriteStreamResponse(window=1 << 20)
            yield response

    fake.plans.append(plan)
    assert len(list(client.write_stream("ada", ["x"], timeout=0.9))) == 1


@pytest.mark.parametrize("kind", ["ack", "flushed"])
def test_an_answer_to_nothing_is_an_error(client, fake, kind):
    def plan(requests, context):
        next(requests)
        answer = {"ack": memory_pb2.WriteResponse(seq=1)} if kind == "ack" else {"flushed": {"token": 1}}
        yield memory_pb2.WriteStreamResponse(**answer)

    fake.plans.append(plan)
    with pytest.raises(MemsvcError, match="none was due") as raised:
        list(client.write_stream("ada", ["x"]))
    assert raised.value.code is StatusCode.INTERNAL
