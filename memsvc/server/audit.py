"""The audit log: a line for every action of an administrator, and for every call that was refused.

A line says who, what, about whom, and what came of it. It never has text, nor anything of a secret.
"""

import time
from collections.abc import Callable
from typing import Any

import structlog

NOBODY = "nobody"
"""For whom no valid credential speaks."""
REFUSED_PER_S = 10
"""Lines about callers without a valid credential: whoever they are, they do not fill the disk."""

log: Any = structlog.wrap_logger(
    None,
    # Whatever level other logs have: what was done must be found again.
    wrapper_class=structlog.make_filtering_bound_logger(0),
    logger_factory_args=["memsvc.audit"],
)


class Audit:
    """Writes the lines.

    Args:
        monotonic: seconds.
    """

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._second, self._written, self._left_out = 0, 0, 0

    def called(self, principal: str, method: str, outcome: str, **about: str) -> None:
        """Write of a call that somebody made.

        Args:
            principal: who made it.
            method: its full name.
            outcome: OK, or the code of its error.
            **about: the tenant, what deduplicates the change, the key's id, where there are any.
        """
        log.info("audit", principal=principal, method=_short(method), outcome=outcome, **about)

    def unknown(self, method: str, outcome: str, reason: str, peer: str) -> None:
        """Write of a call without a valid credential; of too many in a second, how many are left out.

        Args:
            method: its full name.
            outcome: the code of its error.
            reason: the error's.
            peer: from where it came.
        """
        second = int(self._monotonic())
        if second != self._second:
            self._second, self._written = second, 0
        if self._written >= REFUSED_PER_S:
            self._left_out += 1
            return
        left_out = {"left_out": self._left_out} if self._left_out else {}
        self._written, self._left_out = self._written + 1, 0
        log.info(
            "audit", principal=NOBODY, method=_short(method), outcome=outcome, reason=reason, peer=peer, **left_out
        )


def _short(method: str) -> str:
    """Return a method's name as other lines have it."""
    return method.removeprefix("/memsvc.v1.")
