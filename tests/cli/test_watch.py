"""`memsvc watch`, and the parts it is made of."""

import io
import json
import math
import re
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest
from memsvc_client import Event, NotFoundError, UnavailableError
from rich.console import Console

from memsvc.cli import watch as watch_module
from memsvc.cli.feed import Feed
from memsvc.cli.figures import KEPT, Figures
from memsvc.cli.sparkline import sparkline
from memsvc.cli.watch import render_event

EVENTS = [
    Event(7, "drift", {"surprise": 2.5, "sigma": 4.0}),
    Event(7, "restart"),
    Event(1234, "quarantine", {"norm": math.inf}),
]


@pytest.fixture
def ada(fake):
    fake.create_tenant("ada")
    fake.events = [*EVENTS, KeyboardInterrupt()]
    fake.asked.clear()
    return fake


def test_a_watch_prints_a_line_for_each_event_and_ends_well_on_ctrl_c(ada, memsvc):
    ran = memsvc("watch", "ada", "--from-seq", "6")
    assert (ran.code, ran.err) == (0, "")
    assert [line.split() for line in ran.out.splitlines()] == [
        ["7", "drift", "sigma", "4", "surprise", "2.5"],
        ["7", "restart"],
        ["1234", "quarantine", "norm", "inf"],
    ]
    assert ada.asked == [("watch", {"tenant": "ada", "from_seq": 6})]


def test_json_is_one_object_a_line(ada, memsvc):
    ran = memsvc("watch", "ada", "--json")
    assert ran.code == 0
    assert [json.loads(line) for line in ran.out.splitlines()] == [
        {"seq": 7, "kind": "drift", "figures": {"surprise": 2.5, "sigma": 4.0}},
        {"seq": 7, "kind": "restart", "figures": {}},
        {"seq": 1234, "kind": "quarantine", "figures": {"norm": None}},
    ]
    assert ada.asked == [("watch", {"tenant": "ada", "from_seq": None})]


@pytest.mark.parametrize("options", [(), ("--json",)])
def test_every_event_is_out_before_the_next_one_happens(ada, memsvc, options):
    out = []

    def watch(tenant, from_seq):
        for event in EVENTS:
            yield event
            # What went through the text layer's buffer, as a pipe's reader sees it.
            out.append(sys.stdout.buffer.getvalue().count(b"\n"))

    ada.watch = watch
    assert memsvc("watch", "ada", *options).code == 0
    assert out == [1, 2, 3]


def test_a_server_that_stays_away_ends_a_watch(ada, memsvc):
    ada.events = [EVENTS[0], UnavailableError("gone", reason="UNREACHABLE")]
    ran = memsvc("watch", "ada")
    assert ran.code == 3
    assert "drift" in ran.out
    assert "memsvc serve" in ran.err


@pytest.fixture
def terminal(monkeypatch):
    """What a terminal of 80 columns is sent."""
    sent = io.StringIO()
    console = Console(file=sent, force_terminal=True, width=80, height=20, color_system=None, highlight=False)
    monkeypatch.setattr(watch_module, "stdout", lambda: console)
    monkeypatch.setattr(watch_module, "POLL_S", 0.02)
    return sent


def test_a_terminal_shows_events_and_live_figures(ada, memsvc, terminal):
    polled = []

    def watch(tenant, from_seq):
        yield EVENTS[0]
        while len(polled) < 4:
            time.sleep(0.01)
        yield EVENTS[1]

    def stats(tenant, live, timeout):
        ada.figures = {
            "surprise_recent": 1.0 + len(polled),
            "gate_share": 0.5,
            "restarts": 1,
            "restart_tokens_left": 64,
        }
        polled.append(type(ada).stats(ada, tenant))
        return polled[-1]

    ada.watch, ada.stats = watch, stats
    assert memsvc("watch", "ada").code == 0
    shown = terminal.getvalue()
    assert "drift" in shown
    assert "restart " in shown
    assert "▁▃▆█" in shown
    assert "▅▅▅▅" in shown
    assert "1 restarts, 64 tokens of a restart left" in shown
    assert "50%" in shown


def test_figures_that_come_late_are_no_reason_to_end(ada, memsvc, terminal):
    done = threading.Event()

    def watch(tenant, from_seq):
        done.wait(10)
        yield EVENTS[0]

    def stats(tenant, live, timeout):
        assert timeout <= 10
        done.set()
        raise UnavailableError("busy")

    ada.watch, ada.stats = watch, stats
    assert memsvc("watch", "ada").code == 0
    assert "drift" in terminal.getvalue()
    assert "no figures yet" in terminal.getvalue()


def test_what_ends_a_live_watch_is_said(ada, memsvc, terminal):
    ada.events = [NotFoundError("tenant: there is none of that id")]
    ran = memsvc("watch", "ada")
    assert (ran.code, ran.err) == (1, "error: tenant: there is none of that id\n")


def test_ctrl_c_ends_a_live_watch_well(ada, memsvc, terminal):
    def watch(tenant, from_seq):
        yield EVENTS[0]
        threading.Event().wait()

    def stats(tenant, live, timeout):
        if "drift" in terminal.getvalue():
            raise KeyboardInterrupt
        return type(ada).stats(ada, tenant)

    ada.watch, ada.stats = watch, stats
    assert memsvc("watch", "ada").code == 0


def test_json_draws_nothing_on_a_terminal(ada, memsvc, terminal):
    ran = memsvc("watch", "ada", "--json")
    assert len(ran.out.splitlines()) == len(EVENTS)
    assert terminal.getvalue() == ""


def test_every_kind_of_event_has_room_for_its_name():
    message = (
        (Path(__file__).parents[2] / "protos" / "memsvc" / "v1" / "types.proto").read_text().split("message Event")[1]
    )
    kinds = re.findall(r"`([a-z_]+)`", message)
    assert len(kinds) == 11
    columns = {render_event(Event(1, kind, {"n": 1.0})).plain.index("  n 1") for kind in kinds}
    assert len(columns) == 1


def test_an_event_cannot_drive_the_terminal():
    shown = render_event(Event(1, "\x1b[2J", {"\x9b": 1.0})).plain
    assert "\x1b" not in shown
    assert "\x9b" not in shown


def test_a_feed_gives_events_as_they_come_and_then_ends():
    feed = Feed(iter(EVENTS[:2]))
    assert [feed.next(10), feed.next(10), feed.next(10)] == [EVENTS[0], EVENTS[1], None]
    assert feed.over
    assert feed.next(0) is None


def test_a_feed_waits_only_as_long_as_it_may():
    later = threading.Event()

    def events():
        later.wait(10)
        yield EVENTS[0]

    feed = Feed(events())
    assert feed.next(-1.0) is None
    assert not feed.over
    later.set()
    assert feed.next(10) == EVENTS[0]


def test_a_feed_raises_what_the_reading_raises():
    def events():
        yield EVENTS[0]
        raise UnavailableError("gone")

    feed = Feed(events())
    feed.next(10)
    with pytest.raises(UnavailableError):
        feed.next(10)
    assert feed.over


@pytest.mark.parametrize(
    ("values", "limits", "bars"),
    [
        ([], (), ""),
        ([1, 2, 3], (), "▁▅█"),
        ([0, 1, 2, 3, 4, 5, 6, 7], (), "▁▂▃▄▅▆▇█"),
        ([5, 5], (), "▁▁"),
        ([0.5, 1.0, 0.0], (0.0, 1.0), "▅█▁"),
        ([-1.0, 2.0], (0.0, 1.0), "▁█"),
        ([1.0, math.nan, 2.0, math.inf], (), "▁ █ "),
        ([math.nan], (), " "),
    ],
)
def test_a_sparkline_has_a_bar_for_each_value(values, limits, bars):
    assert sparkline(values, *limits) == bars


def test_the_gate_share_is_that_of_what_was_stepped_since_the_last_look(fake):
    fake.create_tenant("ada")
    figures, console = Figures("ada"), Console(width=80, file=io.StringIO(), highlight=False)
    for stepped, tail, share in ((1000, 10, 1.0), (2000, 10, 0.5), (2000, 30, 0.5), (3000, 0, 2 / 3), (4000, 0, 0.625)):
        figures.add(replace(fake.stats("ada"), tokens=stepped + tail, tail_tokens=tail, gate_share=share))
    console.print(figures)
    assert re.search("█▁▁█▅ +50%", console.file.getvalue())


def test_figures_fit_a_narrow_terminal(fake):
    fake.create_tenant("ada")
    figures = Figures("ada")
    for _ in range(3 * KEPT):
        figures.add(fake.stats("ada"))
    for width, bars in ((200, KEPT), (50, 18), (20, 1)):
        console = Console(width=width, file=io.StringIO(), highlight=False)
        console.print(figures)
        lines = console.file.getvalue().splitlines()
        assert all(len(line) <= width for line in lines)
        assert sum("▁" in line for line in lines) == 2
        assert max(line.count("▁") for line in lines) == bars
