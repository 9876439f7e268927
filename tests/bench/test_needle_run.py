"""The benchmark's processes end with it, so that a run that is killed leaves the cores to others."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

PARENT = """
import multiprocessing, os, time
from memsvc_bench import needle_run

def work(pids):
    needle_run._begin()
    pids.put(os.getpid())
    time.sleep(600)

if __name__ == "__main__":
    context = multiprocessing.get_context("spawn")
    pids = context.Queue()
    context.Process(target=work, args=(pids,)).start()
    print(pids.get(), flush=True)
    time.sleep(600)
"""
DEADLINE_S = 60.0


def test_a_process_ends_with_the_run_that_is_killed(tmp_path) -> None:
    script = tmp_path / "parent.py"
    script.write_text(PARENT)
    with subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, text=True) as parent:
        worker = int(parent.stdout.readline())
        os.kill(worker, 0)  # it runs
        parent.send_signal(signal.SIGKILL)
    end = time.monotonic() + DEADLINE_S
    while runs(worker):
        assert time.monotonic() < end, "the worker outlives its run"
        time.sleep(0.05)


def runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    stat = Path(f"/proc/{pid}/stat")
    # One that ended stays listed until somebody asks for how.
    return not (stat.exists() and stat.read_text().rpartition(")")[2].split()[0] == "Z")
