"""Whether system calls can be traced here."""

import shutil
import subprocess


def strace_works() -> bool:
    """Whether the tool is there, and tracing is allowed."""
    if shutil.which("strace") is None:
        return False
    return subprocess.run(["strace", "-o", "/dev/null", "true"], check=False).returncode == 0
