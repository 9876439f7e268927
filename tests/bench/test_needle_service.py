"""The needle test through the service: a server finds what a shipped model was told, and nothing of a neighbour's."""

import os
import pydoc_data.topics
import subprocess
import sys
import time
from dataclasses import replace

import pytest
import torch
from memsvc_bench import needle, needle_service
from memsvc_bench.needle_figures import Key
from memsvc_bench.needle_plan import FULL, NEEDLES, SHIPPED

from memsvc.backbone.titans_mac import checkpoint
from memsvc.errors import InvalidArgumentError
from memsvc.train.needle import NeedleRow
from tests.bench.test_needle_run import DEADLINE_S, runs

LENGTH = 2_048
MODEL = needle.MODELS / "text.safetensors"
MANUAL = "\n".join(pydoc_data.topics.topics.values())[:40_000]


@pytest.fixture(scope="module")
def found():
    hay = torch.tensor(checkpoint.load(MODEL).tokenizer.encode(MANUAL).ids, dtype=torch.int32)
    return needle_service.served(MODEL, "text", hay, tenants=2, length=LENGTH)


def test_a_tenant_finds_its_own_facts_and_no_other_tenants(found):
    own, alone, others = found.values()
    assert list(found) == [
        "through the service, 2,048",
        "through the service, no blank after the question, 2,048",
        "through the service, other tenant, 2,048",
    ]
    for row in (own, alone, others):
        assert (row["tenants"], row["n"]) == (2, 2 * NEEDLES)
        assert LENGTH <= row["tokens"] < 2 * LENGTH
        assert row["at_least"] <= row["exact"] <= min(row["at_most"], row["right"])
    assert own["exact"] >= 0.75
    # As often, it goes on with other words before the value.
    assert 0 < alone["exact"] < own["exact"]
    assert others["exact"] == 0
    assert others["right"] < 0.3


KILLED = """
import sys, time
from pathlib import Path
import torch
from memsvc_bench import needle_service

class Server(needle_service.ServerProcess):
    def start(self):
        super().start()
        print(self.pid, flush=True)
        time.sleep(600)

needle_service.ServerProcess = Server
needle_service.served(Path(sys.argv[1]), "text", torch.arange(256, dtype=torch.int32), tenants=2, length=256)
"""


def test_the_server_ends_with_the_run_that_is_killed(tmp_path):
    command = [sys.executable, "-c", KILLED, str(MODEL)]
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as run:
        server = int(run.stdout.readline())
        assert runs(server)
        run.kill()
    end = time.monotonic() + DEADLINE_S
    while runs(server):
        assert time.monotonic() < end, "the server outlives its run"
        time.sleep(0.05)


@pytest.mark.parametrize(("direct", "holds"), [(1.0, False), (0.5, True)])
def test_what_the_service_finds_is_held_against_the_passes(direct, holds):
    row = NeedleRow("memory", LENGTH, 0.1, 200, direct, 1.0, 0.0)
    rows = {Key("curve", SHIPPED, "similar", "memory", "unseen", NEEDLES, LENGTH): row}
    found = {
        "through the service, 2,048": {"exact": 0.85},
        "through the service, other tenant, 2,048": {"right": 0.1},
    }
    scale = replace(FULL, lengths=(1_024, LENGTH, 65_536))
    exact, right = needle_service.checks("text", rows, found, scale)
    assert exact.ok == holds
    assert right.ok
    found["through the service, other tenant, 2,048"]["right"] = 0.2
    assert not list(needle_service.checks("text", rows, found, scale))[1].ok


def test_a_model_that_no_server_can_call_by_its_name_is_refused(tmp_path):
    path = tmp_path / "a model.safetensors"
    path.write_bytes(MODEL.read_bytes())
    with pytest.raises(InvalidArgumentError, match="backbone"):
        needle_service.served(path, "text", torch.zeros(10), tenants=2, length=LENGTH)
