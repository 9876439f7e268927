"""Damaged and hostile input of every kind: the server lives, answers, stays small, and changes nothing of another's.

    calls      messages to every method that the server says it has, made from the descriptors or taken from the seeds,
               damaged as values and as bytes, on unary calls and on streams
    files      exports, damaged before and behind their checksums, into ImportTenant; a tenant that is made of one all
               the same is used like any other
    HTTP/2     noise, broken frames, header and compression bombs, floods and half-open connections on raw sockets
    decoders   stored bytes (records, snapshots, values in Redis), damaged, into what reads them, in a process apart

Each input is a function of the seed and its number. What makes something happen that must not is written to a file,
which `--replay` sends again; those of the past are in `fuzz_seeds/found` and are sent first in every run.
"""

import random
from collections.abc import Sequence
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import grpc

from memsvc_bench import fuzz_decoding, fuzz_http2, fuzz_replay
from memsvc_bench.fuzz_attack import Attack, Found
from memsvc_bench.fuzz_decoding import Failure
from memsvc_bench.fuzz_files import Files
from memsvc_bench.fuzz_messages import SEEDS, Messages, methods_of
from memsvc_bench.fuzz_replay import Step
from memsvc_bench.fuzz_server import GROWTH_BYTES, Target, Violation, target
from memsvc_bench.report import Check, Result, describe_machine

SHARES = {"call": 60, "file": 6, "wire": 4}
"""Of a hundred inputs; the rest goes to the decoders."""
FEW, MANY = 5, 16
"""Entries of the exports that are damaged: without weights, which are large, and with them."""
LOST = ("UNAVAILABLE", "CANCELLED", "NO_CONNECTION")
FAILURES = Path("fuzz-failures")
"""Where inputs are written that something came of, below where the command runs."""


def bench(*, count: int, seed: int, replay: Path | None = None, failures: Path = FAILURES) -> Result:
    """`memsvc bench fuzz`.

    Args:
        count: inputs of all kinds together.
        seed: of all that is random.
        replay: send what is in this file instead.
        failures: where inputs are written that something came of.

    Raises:
        RuntimeError: the server did not start.
        ValueError: the file to replay is none.
    """
    steps = _found() if replay is None else fuzz_replay.read(replay.read_text())
    live = sum(SHARES.values())
    decoded = count * (100 - live) // 100 if replay is None else 0
    found: list[Found] = _decode(decoded, seed, [step for step in steps if isinstance(step, Failure)])
    with TemporaryDirectory() as scratch, target(Path(scratch)) as aimed:
        figures, more = _attack(aimed, count - decoded if replay is None else 0, seed, steps)
    found += more
    for number, violation in enumerate(found):
        fuzz_replay.write(failures / f"{seed}-{number}.json", violation.why, violation.steps)
    sent, codes = figures.pop("sent"), figures.pop("codes")
    lost = sum(count for code, count in codes.items() if code.startswith(LOST))
    command = f"memsvc bench fuzz --count {count} --seed {seed}"
    return Result(
        machine=describe_machine(),
        command=command,
        figures={
            "inputs": sum(sent.values()) + decoded,
            **figures,
            **({"violations": [violation.why[:500] for violation in found]} if found else {}),
            **{name: {"inputs": number} for name, number in sorted(sent.items())},
            "decoders": {"inputs": decoded},
            **{f"code: {code}": {"calls": number} for code, number in sorted(codes.items())},
        },
        checks=[
            Check.at_least("inputs", sum(sent.values()) + decoded, count if replay is None else 0),
            Check.at_most("violations", len(found), 0),
            Check.at_most("calls that lost their connection", lost, 0),
            Check.at_most("MiB that the server grew by", figures["grew_mib"], GROWTH_BYTES >> 20),
        ],
    )


def _decode(count: int, seed: int, again: Sequence[Failure]) -> list[Found]:
    failures = fuzz_decoding.feed(count, seed).failures if count else []
    if again:
        failures += fuzz_decoding.feed_again([(step.decoder, step.data) for step in again]).failures
    return [Found(f"decoder {failure.decoder}: {failure.why}", [failure]) for failure in failures]


def _attack(aimed: Target, count: int, seed: int, again: Sequence[Step]) -> tuple[dict[str, Any], list[Found]]:
    """Send old inputs, then so many new ones; return figures, and what was violated first."""
    with grpc.insecure_channel(aimed.server.target) as channel:
        methods = methods_of(channel)
    attack = Attack(aimed, methods)
    messages = Messages(methods, seed)
    files = Files([*_exports(), aimed.export(FEW)], aimed.export(MANY), seed)

    def step(number: int) -> Step:
        rng = random.Random(f"{seed}/kind/{number}")
        (kind,) = rng.choices(list(SHARES), list(SHARES.values()))
        match kind:
            case "call":
                return messages.call(number)
            case "file":
                return files.call(number)
        return fuzz_http2.wire(seed, number)

    old = [*messages.corpus(), *(step for step in again if not isinstance(step, Failure))]
    found = attack.run(len(old), old.__getitem__) or attack.run(count, step)
    if found is None:
        try:
            aimed.check_drain()
        except Violation as violation:
            found = Found(str(violation), [])
    figures = {
        "methods": len(methods),
        "warm_mib": aimed.warm_bytes >> 20,
        "grew_mib": max(0, aimed.most_bytes - aimed.warm_bytes) >> 20,
        "looks": aimed.looks,
        "sent": attack.sent,
        "codes": attack.codes,
    }
    return figures, [] if found is None else [found]


def _exports() -> list[bytes]:
    return [file.read_bytes() for file in _seeds("exports")]


def _found() -> list[Step]:
    """Return what was found in the past."""
    return [step for file in _seeds("found") for step in fuzz_replay.read(file.read_text("utf-8"))]


def _seeds(kind: str) -> list[Traversable]:
    files = (resources.files("memsvc_bench") / SEEDS / kind).iterdir()
    return sorted((file for file in files if not file.name.startswith("README")), key=lambda file: file.name)
