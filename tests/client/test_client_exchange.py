"""The write stream's protocol alone, against a model server."""

import itertools
import random

from hypothesis import given, settings
from hypothesis import strategies as st
from memsvc_client._exchange import BATCH_BYTES, BATCH_ENTRIES, MAX_IN_FLIGHT_BATCHES, MAX_IN_FLIGHT_BYTES, Exchange

from memsvc.v1 import memory_pb2


class Server:
    """Appends what reaches it, once for each id, and answers in order."""

    def __init__(self):
        self.held = {}
        self.connect()

    def connect(self):
        self.inbox, self.answers = [], []

    def take(self, window):
        request = self.inbox.pop(0)
        kind = request.WhichOneof("message")
        if kind == "open":
            answer = memory_pb2.WriteStreamResponse(opened=memory_pb2.WriteStreamOpened())
        elif kind == "flush":
            answer = memory_pb2.WriteStreamResponse(flushed={"token": request.flush.token})
        else:
            for entry in request.batch.entries:
                self.held.setdefault(entry.id, entry.text)
            results = [memory_pb2.WriteResult(id=entry.id) for entry in request.batch.entries]
            answer = memory_pb2.WriteStreamResponse(ack=memory_pb2.WriteResponse(results=results))
        answer.window = window
        self.answers.append(answer)


def drawn_items(chance, count):
    """Return texts that tell each other apart, and lists of them."""
    texts = (f"{i} " + "x" * chance.randrange(400) for i in itertools.count())
    return [
        next(texts) if chance.random() < 0.5 else [next(texts) for _ in range(chance.randint(1, 3))]
        for _ in range(count)
    ]


@settings(max_examples=100, deadline=None)
@given(count=st.integers(0, 150), seed=st.integers(0, 2**32))
def test_every_batch_is_acknowledged_once_and_in_order_whatever_breaks(count, seed):
    exchange, server, chance = Exchange("ada"), Server(), random.Random(seed)
    items = drawn_items(chance, count)
    source, receipts, window, unacknowledged = iter(items), [], 0, []
    server.inbox.append(exchange.restart())
    steps = 0
    while not exchange.done:
        steps += 1
        assert steps < 5_000
        for request in exchange.requests():
            server.inbox.append(request)
            if request.HasField("batch"):
                unacknowledged.append(request.ByteSize())
                assert len(unacknowledged) == 1 or sum(unacknowledged) <= window
        assert len(unacknowledged) <= MAX_IN_FLIGHT_BATCHES
        turns = {"feed": exchange.hungry, "take": server.inbox, "hear": server.answers, "cut": chance.random() < 0.1}
        match chance.choice([name for name, possible in turns.items() if possible]):
            case "feed":
                item = next(source, None)
                exchange.end() if item is None else exchange.add(item)
            case "take":
                server.take(chance.choice([0, 500, 5_000, 1 << 30]))
            case "hear":
                answer = server.answers.pop(0)
                window = answer.window
                if receipt := exchange.receive(answer):
                    receipts.append(receipt)
                    unacknowledged.pop(0)
            case "cut":
                unacknowledged.clear()
                server.connect()
                server.inbox.append(exchange.restart())
    flat = [text for item in items for text in ([item] if isinstance(item, str) else item)]
    assert list(server.held.values()) == flat
    assert [i for receipt in receipts for i in receipt.ids] == list(server.held)
    assert exchange.acknowledged == len(receipts)
    assert all(len(receipt.ids) <= BATCH_ENTRIES for receipt in receipts)


def opened(exchange, window):
    """Take an exchange through its opening and its first batch."""
    exchange.restart()
    exchange.receive(memory_pb2.WriteStreamResponse(window=window, opened=memory_pb2.WriteStreamOpened()))
    exchange.add(["first"])
    assert len(list(exchange.requests())) == 1
    assert not exchange.hungry
    exchange.receive(memory_pb2.WriteStreamResponse(window=window, ack=memory_pb2.WriteResponse()))
    return exchange


def test_what_is_on_the_way_is_bounded_in_bytes_whatever_the_window():
    exchange, sent = opened(Exchange("ada"), 1 << 40), []
    while exchange.hungry:
        exchange.add(["x" * 60_000] * 50)
        sent += exchange.requests()
    assert sum(request.ByteSize() for request in sent) <= MAX_IN_FLIGHT_BYTES
    assert len(sent) == 2


def test_what_is_on_the_way_is_bounded_in_batches_whatever_the_window():
    exchange, sent = opened(Exchange("ada"), 1 << 40), []
    while exchange.hungry:
        exchange.add(["x"])
        sent += exchange.requests()
    assert len(sent) == MAX_IN_FLIGHT_BATCHES


def test_a_batch_of_gathered_entries_is_bounded_in_bytes():
    exchange = opened(Exchange("ada"), 1 << 40)
    for _ in range(40):
        exchange.add("x" * 9_000)
    exchange.end()
    *sent, flush = exchange.requests()
    assert flush.HasField("flush")
    assert sum(len(request.batch.entries) for request in sent) == 40
    assert all(request.ByteSize() <= BATCH_BYTES + 1_000 for request in sent)


def test_nothing_is_sent_or_wanted_before_the_server_opens_the_stream():
    exchange = Exchange("ada")
    assert exchange.restart().open.tenant == "ada"
    assert not exchange.hungry
    exchange.end()
    assert list(exchange.requests()) == []
