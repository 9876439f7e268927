"""Places in the code where a test lets this process die, stop, stall or fail.

    MEMSVC_FAILPOINTS="append.after=crash@7,snapshot.chunk=sleep:50" memsvc serve

Each item is `name=action[:arg][@nth]`: at the nth time that the process comes by, or every time. The actions:

    crash       end the process with SIGKILL: nothing is flushed, nobody is told
    stop        freeze the process with SIGSTOP, until someone sends SIGCONT
    sleep:MS    stall the thread that comes by, for so many milliseconds
    raise       raise an UnavailableError with reason FAILPOINT

Without the variable a place costs one look-up in an empty dictionary.
"""

import itertools
import os
import re
import signal
import time
from collections.abc import Mapping
from functools import cache
from types import MappingProxyType

from memsvc.errors import InvalidArgumentError, UnavailableError

VARIABLE = "MEMSVC_FAILPOINTS"

SITES: Mapping[str, str] = MappingProxyType(
    {
        "append.before": "all of a commit is said to the store, and nothing is durable",
        "append.after": "a commit is durable, and no caller knows",
        "acknowledge.before": "one caller is about to hear of what is durable",
        "snapshot.chunk": "a part of a snapshot is written, and no manifest names it",
        "snapshot.swap.before": "a snapshot is written but for the swap of its manifest",
        "snapshot.swap.after": "a snapshot is in place",
        "trim.before": "what a new snapshot makes superfluous is about to go",
        "trim.after": "it is gone",
        "evict": "a view is about to leave the memory",
        "restore": "a view is about to come back from its snapshot",
        "erase.payloads": "some payloads are about to be destroyed",
        "erase.files": "what was destroyed is about to leave the files, too",
        "lease.renew": "a lease is about to be renewed",
        "takeover": "a shard is taken, and what its earlier owner left is not finished",
    }
)
"""Every place, and what holds there."""

ACTIONS = ("crash", "stop", "sleep", "raise")

_ITEM = re.compile(r"(?P<name>[^=]+)=(?P<action>[a-z]+)(?::(?P<arg>\d+))?(?:@(?P<nth>[1-9]\d*))?")


class Failpoint:
    """A place that is armed. Threads may come by at the same time."""

    def __init__(self, name: str, action: str, milliseconds: int, nth: int | None) -> None:
        self._name, self._action, self._seconds, self._nth = name, action, milliseconds / 1000, nth
        self._times = itertools.count(1)

    def hit(self) -> None:
        """Come by.

        Raises:
            UnavailableError: the action is `raise`, and it is time.
        """
        if self._nth not in {None, next(self._times)}:
            return
        if self._action == "crash":
            os.kill(os.getpid(), signal.SIGKILL)
        elif self._action == "stop":
            os.kill(os.getpid(), signal.SIGSTOP)
        elif self._action == "sleep":
            time.sleep(self._seconds)
        else:
            raise UnavailableError(f"the failpoint {self._name} was hit", reason="FAILPOINT")


def hit(name: str) -> None:
    """Come by the place of that name.

    Raises:
        UnavailableError: it is armed with `raise`.
    """
    if (point := armed().get(name)) is not None:
        point.hit()


@cache
def armed() -> Mapping[str, Failpoint]:
    """Return what the environment arms, by name; it is read once.

    Raises:
        InvalidArgumentError: the variable cannot be read; names the item.
    """
    return parse(os.environ.get(VARIABLE, ""))


def parse(text: str) -> Mapping[str, Failpoint]:
    """Read a list of items.

    Raises:
        InvalidArgumentError: one is wrong.
    """
    points = {}
    for item in filter(None, text.split(",")):
        found = _ITEM.fullmatch(item.strip())
        if found is None or found["action"] not in ACTIONS or (found["action"] == "sleep") != bool(found["arg"]):
            known = ", ".join(ACTIONS)
            raise InvalidArgumentError(VARIABLE, f"{item!r} is not name=action[:MS][@nth]; the actions are {known}")
        if found["name"] not in SITES:
            known = ", ".join(SITES)
            raise InvalidArgumentError(VARIABLE, f"there is no failpoint {found['name']!r}; there are {known}")
        nth = int(found["nth"]) if found["nth"] else None
        points[found["name"]] = Failpoint(found["name"], found["action"], int(found["arg"] or 0), nth)
    return points
