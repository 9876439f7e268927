"""How long exact erasure takes, by the size of the tenant and by where the text stands in its stream."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from memsvc_client import MemoryClient

from memsvc_bench import service_load as load
from memsvc_bench.report import Check, Result, describe_machine
from memsvc_bench.server_process import ServerProcess
from memsvc_bench.service_texts import Synthetic

DIM = 384
SNAPSHOT_S = 120.0
PLACES: Mapping[str, float] = {"first": 0.0, "middle": 0.5, "last": 1.0}


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """How much is measured."""

    encoder: str = "minilm"
    sizes: tuple[int, ...] = (10_000, 100_000)
    """Entries of the tenants, whose vectors are given."""


FULL = Scale()
QUICK = Scale(encoder="kmer", sizes=(1_200,))


def bench(*, scale: Scale = FULL) -> Result:
    """`memsvc bench erasure`.

    Raises:
        RuntimeError: the server did not start.
    """
    figures: dict[str, Any] = {}
    left = 0
    with TemporaryDirectory() as scratch:
        data = Path(scratch) / "data"
        with ServerProcess(data, ["--encoder", scale.encoder]) as server, MemoryClient(server.target) as client:
            for size in scale.sizes:
                tenant = f"tenant-{size}"
                load.load(server.target, tenant, Synthetic(size, DIM))
                load.wait_for_snapshot(client, tenant, SNAPSHOT_S)
                for place, share in PLACES.items():
                    id = str(round(share * (size - 1)))
                    text = client.get_entry(tenant, id).text
                    start = time.perf_counter()
                    receipt = client.forget(tenant, [id], timeout=load.TIMEOUT_S)
                    seconds = time.perf_counter() - start
                    left += _holds(data, text)
                    figures[f"{size:,} entries, the {place}"] = {
                        "seconds": seconds,
                        "bytes_destroyed": receipt.bytes_destroyed,
                    }
            server.stop()
    checks = [Check.at_most("files that hold a text after its erasure", left, 0)]
    return Result(machine=describe_machine(), command="memsvc bench erasure", figures=figures, checks=checks)


def _holds(directory: Path, text: str) -> int:
    """Return how many files hold a text."""
    wanted = text.encode()
    return sum(wanted in file.read_bytes() for file in directory.iterdir() if file.is_file())
