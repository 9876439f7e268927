"""What a newcomer runs first, with the encoder that needs no model."""

import json
import subprocess
import sys


def test_the_demo_remembers_survives_a_kill_and_says_so() -> None:
    command = [sys.executable, "-m", "memsvc.cli.main", "demo", "--encoder", "kmer", "--json"]
    ran = subprocess.run(command, capture_output=True, text=True, check=False, timeout=240)
    assert ran.returncode == 0, ran.stderr
    result = json.loads(ran.stdout)
    assert set(result) == {"machine", "command", "figures", "checks"}
    assert result["figures"]["passages"] > 500
    assert all(check["ok"] for check in result["checks"])
