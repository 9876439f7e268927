"""Texts full of numbers, which are the same wherever a training is gone on with."""

import os
import subprocess
import sys

from memsvc.train.figures import figures

PRINT = "import sys; from memsvc.train.figures import figures; sys.stdout.write('\\n\\n'.join(figures(160)))"


def test_another_process_writes_the_same():
    run = subprocess.run(
        [sys.executable, "-c", PRINT],
        env=os.environ | {"PYTHONHASHSEED": "7"},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert run.stdout == "\n\n".join(figures(160))
