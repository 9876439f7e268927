"""Damaged bytes into every decoder, in a process of its own: `python -m memsvc_bench.fuzz_decoding`.

Its address space may grow by GROWTH_BYTES only, no input may take longer than PATIENCE_S, and while bytes are decoded
nothing may be unpickled, run, imported, opened or connected to. It takes one JSON object on its standard input and
answers with one.
"""

import base64
import json
import os
import random
import resource
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

from memsvc_bench import fuzz_audit
from memsvc_bench.fuzz_mutate import altered_inside, damaged

GROWTH_BYTES = 512 << 20
"""Of address space, over what the process takes once everything is loaded; no input is larger than 1 MiB."""
PATIENCE_S = 10
MOST_FAILURES = 20
START_S = 120.0


class Failure(NamedTuple):
    """An input that something else came of than was promised."""

    decoder: str
    data: bytes
    why: str


class Outcome(NamedTuple):
    """What the decoders did."""

    fed: Counter[str]
    """Inputs by decoder."""
    accepted: int
    """Inputs that were read in spite of the damage."""
    failures: list[Failure]


def feed(count: int, seed: int) -> Outcome:
    """Feed the decoders so many damaged inputs.

    Raises:
        RuntimeError: the process could not be started.
    """
    return _run({"count": count, "seed": seed})


def feed_again(inputs: list[tuple[str, bytes]]) -> Outcome:
    """Feed inputs by the names of their decoders.

    Raises:
        RuntimeError: the process could not be started.
    """
    return _run({"inputs": [[decoder, base64.b64encode(data).decode()] for decoder, data in inputs]})


def _run(asked: Mapping[str, Any]) -> Outcome:
    with tempfile.TemporaryDirectory() as scratch:
        at = Path(scratch) / "at"
        ran = subprocess.run(  # noqa: S603 - our own interpreter and module
            [sys.executable, "-m", "memsvc_bench.fuzz_decoding", str(at)],
            input=json.dumps(asked), capture_output=True, text=True, check=False,
        )  # fmt: skip
        if ran.returncode:
            if not at.exists():
                raise RuntimeError(f"the decoders did not start: {ran.stderr[-4000:]}")
            decoder, _, data = at.read_bytes().partition(b"\n")
            why = f"the process ended with {ran.returncode}: {ran.stderr[-1000:]}"
            return Outcome(Counter({decoder.decode(): 1}), 0, [Failure(decoder.decode(), data, why)])
    said = json.loads(ran.stdout)
    failures = [Failure(decoder, base64.b64decode(data), why) for decoder, data, why in said["failures"]]
    return Outcome(Counter(said["fed"]), said["accepted"], failures)


class _Trial:
    """Feeds inputs, one by one, and remembers what came of them.

    Args:
        at: the file that holds the input under way, should the process die of it.
    """

    def __init__(self, at: Path) -> None:
        # After the audit of imports nothing of ours is loaded any more: it is all here.
        from memsvc_bench.fuzz_decoders import body, decoders, resealed, sealed  # noqa: PLC0415

        self.decoders, self._body, self._resealed, self._sealed = decoders(), body, resealed, sealed
        self._at = os.open(at, os.O_CREAT | os.O_WRONLY)
        self.fed, self.accepted = Counter[str](), 0
        self.failures: list[Failure] = []
        self._heard: list[str] = []
        self._decoding = False
        signal.signal(signal.SIGALRM, _late)
        self.input(0, 0)
        fuzz_audit.install(fuzz_audit.ACTIONS, self._hear)
        _limit()

    def _hear(self, event: str) -> None:
        if self._decoding:
            self._heard.append(event)

    def input(self, number: int, seed: int) -> tuple[str, bytes]:
        """Return the input of a number, with its decoder's name."""
        rng = random.Random(f"{seed}/decode/{number}")
        name = rng.choice(list(self.decoders))
        decoder = self.decoders[name]
        data = rng.choice(decoder.seeds)
        others = [other for d in self.decoders.values() for other in d.seeds if len(other) < 10_000]
        if not decoder.sealed:
            return name, altered_inside(rng, data) if rng.random() < 0.7 else damaged(rng, data, others)
        match rng.randrange(3):
            case 0:
                return name, damaged(rng, data, others)
            case 1:
                return name, self._resealed(damaged(rng, data, others))
        return name, self._sealed(altered_inside(rng, self._body(data)))

    def feed(self, name: str, data: bytes) -> None:
        """Feed one input."""
        os.ftruncate(self._at, 0)
        os.pwrite(self._at, name.encode() + b"\n" + data, 0)
        decoder = self.decoders[name]
        self.fed[name] += 1
        self._heard.clear()
        signal.alarm(PATIENCE_S)
        self._decoding = True
        why = ""
        try:
            decoder.decode(data)
            self.accepted += 1
        except decoder.error:
            pass
        except BaseException as error:  # whatever else comes out is what this looks for
            why = f"{type(error).__name__}: {error}"
        self._decoding = False
        signal.alarm(0)
        if why or self._heard:
            self.failures.append(Failure(name, data, why or f"it did {', '.join(self._heard)}"))


class _LateError(Exception):
    """An input took too long."""


def _late(number: int, frame: object) -> NoReturn:
    raise _LateError(f"no result in {PATIENCE_S} s")


def _limit() -> None:
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    most = pages * os.sysconf("SC_PAGE_SIZE") + GROWTH_BYTES
    resource.setrlimit(resource.RLIMIT_AS, (most, most))


def _main() -> None:
    asked = json.load(sys.stdin)
    trial = _Trial(Path(sys.argv[1]))
    if "inputs" in asked:
        inputs = ((name, base64.b64decode(data)) for name, data in asked["inputs"])
    else:
        inputs = (trial.input(number, asked["seed"]) for number in range(asked["count"]))
    for name, data in inputs:
        trial.feed(name, data)
        if len(trial.failures) >= MOST_FAILURES:
            break
    failures = [[f.decoder, base64.b64encode(f.data).decode(), f.why] for f in trial.failures]
    print(json.dumps({"fed": trial.fed, "accepted": trial.accepted, "failures": failures}))


if __name__ == "__main__":
    _main()
