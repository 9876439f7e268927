"""watch of both clients."""

import asyncio
import itertools
import threading

import pytest
from fake_server import Fail
from google.rpc.error_details_pb2 import ErrorInfo
from grpc import StatusCode
from memsvc_client import (
    AsyncMemoryClient,
    Event,
    MemoryClient,
    MemsvcError,
    NotFoundError,
    RetryPolicy,
    UnavailableError,
)
from memsvc_client._access import Access
from memsvc_client._core import Core
from memsvc_client._watching import Watching

from memsvc.v1 import types_pb2

CUT = Fail(StatusCode.UNAVAILABLE, "cut", [ErrorInfo(reason="CUT")])
END = Fail(StatusCode.FAILED_PRECONDITION, "that is all")


def event(seq, kind="drift", **figures):
    return types_pb2.Event(seq=seq, kind=kind, figures=figures)


def watched(client, **arguments):
    """Return what a watch yields until the server ends it for good."""
    seen = []
    events = client.watch("ada", **arguments)
    with pytest.raises(MemsvcError, match="that is all"):
        seen.extend(events)  # what came before the error stays
    return [(each.seq, each.kind) for each in seen]


def begun(fake):
    """Return where each watch was asked to begin."""
    return [request.from_seq if request.HasField("from_seq") else None for request in fake.asked("WatchTenant")]


def test_events_come_as_the_server_sends_them(client, fake):
    fake.watches.append([event(3, "drift", surprise=2.5, sigma=4.0), event(3, "restart"), event(9, "forgotten")])
    events = client.watch("ada")
    assert [next(events) for _ in range(3)] == [
        Event(seq=3, kind="drift", figures={"surprise": 2.5, "sigma": 4.0}),
        Event(seq=3, kind="restart"),
        Event(seq=9, kind="forgotten"),
    ]
    events.close()
    assert fake.asked("WatchTenant")[0].tenant == "ada"


def test_nothing_is_asked_before_the_first_event_is_wanted(client, fake):
    client.watch("ada").close()
    assert not fake.calls


def test_a_watch_begins_where_it_is_told_to(client, fake):
    fake.watches.append([event(3), event(7), event(8), END])
    assert watched(client, from_seq=7) == [(8, "drift")]
    fake.watches.append([event(3), END])
    assert watched(client, from_seq=0) == [(3, "drift")]
    fake.watches.append([END])
    assert watched(client) == []
    assert begun(fake) == [7, 0, None]


def test_an_event_comes_before_the_next_one_happens(client, fake):
    later = threading.Event()
    fake.watches.append([event(1), later, event(2)])
    events = client.watch("ada")
    assert next(events).seq == 1
    assert not later.is_set()
    later.set()
    assert next(events).seq == 2
    events.close()


def test_a_snapshot_that_comes_late_is_told_and_moves_nothing(client, fake):
    """It is of a record before the last one, because it is told when it is saved."""
    fake.watches.extend([[event(5, "drift"), event(3, "snapshot"), CUT], [event(5, "drift"), event(6), END]])
    assert watched(client) == [(5, "drift"), (3, "snapshot"), (6, "drift")]
    assert begun(fake) == [None, 4]


def test_after_a_restore_records_are_counted_from_the_one_it_names(client, fake):
    """What follows has numbers that were told before, and must not be taken for a repetition."""
    fake.watches.extend(
        [[event(4, "restart"), event(6, "drift"), event(3, "restored", to=3), CUT], [event(4, "restart"), CUT], [END]]
    )
    assert watched(client) == [(4, "restart"), (6, "drift"), (3, "restored"), (4, "restart")]
    assert begun(fake) == [None, 3, 3]


def test_closing_the_iterator_ends_the_call(client, fake):
    fake.watches.append([event(1), threading.Event()])
    events = client.watch("ada")
    next(events)
    assert not fake.over.is_set()
    events.close()
    assert fake.over.wait(10)
    with pytest.raises(StopIteration):
        next(events)
    assert len(fake.asked("WatchTenant")) == 1


def test_a_broken_watch_goes_on_after_the_last_event(client, fake):
    fake.watches.extend([[event(3), event(5), CUT], [event(3), event(5), event(6), CUT], [event(6), event(7), END]])
    assert watched(client) == [(3, "drift"), (5, "drift"), (6, "drift"), (7, "drift")]
    assert begun(fake) == [None, 4, 5]


def test_a_break_between_the_events_of_one_record_loses_and_repeats_none(client, fake):
    record = [event(5, "drift", surprise=1.0), event(5, "drift", surprise=2.0), event(5, "restart")]
    fake.watches.extend([[event(3), *record[:1], CUT], [*record[:2], CUT], [*record, event(8), END]])
    assert watched(client) == [(3, "drift"), (5, "drift"), (5, "drift"), (5, "restart"), (8, "drift")]


def test_equal_events_of_one_record_are_told_apart_by_their_number(client, fake):
    twice = [event(5), event(5)]
    fake.watches.extend([[*twice, CUT], [*twice, CUT], [*twice, event(5), END]])
    assert watched(client) == [(5, "drift")] * 3


def test_a_server_that_forgot_an_event_costs_no_other_one(client, fake):
    fake.watches.extend([[event(5, "drift"), CUT], [event(5, "restart"), event(6), END]])
    assert watched(client) == [(5, "drift"), (5, "restart"), (6, "drift")]


def test_a_break_before_the_first_event_begins_again_as_it_was(client, fake):
    fake.watches.extend([[CUT], [CUT], [event(8), END]])
    assert watched(client, from_seq=7) == [(8, "drift")]
    assert begun(fake) == [7, 7, 7]


def test_a_stream_that_ends_in_peace_is_resumed_too(client, fake):
    fake.watches.extend([[event(1)], [event(1), event(2), END]])
    assert watched(client) == [(1, "drift"), (2, "drift")]


def test_tries_are_bounded_and_every_new_event_renews_them(client, fake):
    fake.watches.extend([CUT] for _ in range(3))
    fake.watches.extend([*([event(1), CUT] for _ in range(3)), [event(2), CUT]])
    fake.watches.extend([event(2), CUT] for _ in range(9))
    events = client.watch("ada")
    assert [next(events).seq, next(events).seq] == [1, 2]
    with pytest.raises(UnavailableError, match="cut") as raised:
        next(events)
    assert raised.value.reason == "CUT"
    # Three that failed, the first event; two more, the second event; three more.
    assert len(fake.asked("WatchTenant")) == 3 + 1 + 2 + 1 + 3


def test_a_server_that_always_ends_in_peace_is_not_asked_for_ever(client, fake):
    fake.watches.extend([] for _ in range(9))
    with pytest.raises(UnavailableError, match="ended the stream before it was over") as raised:
        next(client.watch("ada"))
    assert raised.value.reason == "STREAM_ENDED"


@pytest.mark.parametrize("code", [StatusCode.NOT_FOUND, StatusCode.OUT_OF_RANGE, StatusCode.INTERNAL])
def test_what_time_does_not_heal_ends_it(client, fake, code):
    fake.watches.append([event(1), Fail(code, "no more")])
    events = client.watch("ada")
    next(events)
    with pytest.raises(MemsvcError, match="no more") as raised:
        next(events)
    assert raised.value.code is code
    assert len(fake.asked("WatchTenant")) == 1


def test_an_unknown_tenant_is_not_found(client):
    with pytest.raises(NotFoundError):
        next(client.watch("nobody"))


def test_one_attempt_means_no_second(connect, fake):
    fake.watches.append([event(1), CUT])
    events = connect(fake.target, retry=RetryPolicy(attempts=1)).watch("ada")
    next(events)
    with pytest.raises(UnavailableError):
        next(events)


def test_a_watch_has_no_deadline(connect, fake):
    later = threading.Event()
    fake.watches.append([event(1), later, event(2)])
    events = connect(fake.target, timeout=0.2).watch("ada")
    next(events)
    timer = threading.Timer(0.6, later.set)
    timer.start()
    assert next(events).seq == 2
    timer.join()
    events.close()


def test_a_connection_that_held_long_makes_up_for_earlier_failures():
    now = [100.0]
    core = Core("127.0.0.1:1", 30.0, RetryPolicy(attempts=2), Access(None, False, False))
    watching = Watching(core, "ada", None, 5.0, lambda: now[0])
    for _ in range(10):
        watching.restart()
        now[0] += 5.0
        assert watching.pause(None) > 0
    watching.restart()
    now[0] += 4.9
    with pytest.raises(UnavailableError):
        watching.pause(None)


def test_closing_the_client_ends_its_watches(fake):
    client = MemoryClient(fake.target)
    events = client.watch("ada")
    fake.watches.append([event(1), threading.Event()])
    next(events)
    threading.Timer(0.2, client.close).start()
    with pytest.raises(MemsvcError) as raised:
        next(events)
    assert raised.value.code is StatusCode.CANCELLED


async def test_closing_the_asyncio_client_ends_its_watches(fake):
    client = AsyncMemoryClient(fake.target)
    events = client.watch("ada")
    fake.watches.append([event(1), threading.Event()])
    await anext(events)
    asyncio.get_running_loop().call_later(0.2, lambda: asyncio.ensure_future(client.close()))
    with pytest.raises(MemsvcError) as raised:
        await anext(events)
    assert raised.value.code is StatusCode.CANCELLED


async def test_a_cancelled_watch_ends_its_call(fake):
    fake.watches.append([event(1), threading.Event()])
    seen = []

    async def consume(client):
        async for each in client.watch("ada"):
            seen.append(each)  # noqa: PERF401  in the loop, as callers write it

    async with AsyncMemoryClient(fake.target) as client:
        task = asyncio.create_task(consume(client))
        while not seen:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await asyncio.to_thread(fake.over.wait, 10)


async def test_a_watch_leaves_room_for_other_calls(fake):
    fake.watches.append(event(i) for i in itertools.count(1))
    async with AsyncMemoryClient(fake.target) as client:
        events = client.watch("ada")
        for seq in range(1, 50):
            assert (await anext(events)).seq == seq
            await client.write("ada", "x")
        await events.aclose()
