"""What time it is."""

import time


def wall_clock_us() -> int:
    """Return microseconds since the epoch."""
    return time.time_ns() // 1000
