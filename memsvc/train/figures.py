"""Texts that are full of numbers and state no fact about a name: listings, sessions, tables, logs, settings.

Manuals of other libraries have many of them, Python's own has few, and a gate that has seen few takes them for facts.
"""

import calendar
import dis
import itertools
import json
import keyword
import random
import sys
from collections.abc import Callable, Iterator, Sequence

_LINES = 40
"""Of a document, about."""
_NAMES = tuple(sorted(name.strip("_") for name in sys.stdlib_module_names)) + tuple(keyword.softkwlist)
_CODES = tuple(
    function.__code__
    for module in (calendar, dis, json, json.decoder, random)
    for function in (*vars(module).values(),)
    if hasattr(function, "__code__")
)


def figures(count: int) -> Iterator[str]:
    """Yield so many documents, always the same."""
    for index in range(count):
        rng = random.Random(f"figures/{index}")  # noqa: S311  # a seed, no secret
        yield _KINDS[index % len(_KINDS)](rng)


def _number(rng: random.Random) -> str:
    match rng.randrange(6):
        case 0:
            return f"{rng.uniform(-10, 10):.{rng.randint(1, 6)}f}"
        case 1:
            return f"{rng.gauss(0, 1):.{rng.randint(1, 3)}e}"
        case 2:
            return f"{rng.randrange(100)}."
        case 3:
            return str(rng.randrange(-9, 10))
        case _:
            return str(rng.randrange(10 ** rng.randint(1, 6)))


def _numbers(rng: random.Random, most: int) -> list[str]:
    return [_number(rng) for _ in range(rng.randint(1, most))]


def _call(rng: random.Random) -> str:
    named = rng.random() < 0.4
    inside = [f"{rng.choice(_NAMES)}={n}" if named else n for n in _numbers(rng, 3)]
    return f"{rng.choice(_NAMES)}.{rng.choice(_NAMES)}({', '.join(inside)})"


def _nested(rng: random.Random) -> str:
    opened, closed = rng.choice(("[]", "()", "{}", ("array([", "])"), ("<", ">")))
    rows = [f"[{', '.join(_numbers(rng, 5))}]" for _ in range(rng.randint(1, 3))]
    return f"{opened}{', '.join(rows if rng.random() < 0.5 else _numbers(rng, 8))}{closed}"


def _session(rng: random.Random) -> str:
    lines = []
    for _ in range(_LINES // 2):
        name = rng.choice("abcdefghijklmnopqrstuvwxyz")
        lines.append(f">>> {name} = {rng.choice((_call, _nested))(rng)}" if rng.random() < 0.4 else f">>> {_call(rng)}")
        lines.append(_nested(rng) if rng.random() < 0.6 else _number(rng))
    return "\n".join(lines)


def _table(rng: random.Random) -> str:
    width = rng.randint(2, 6)
    head = rng.sample(_NAMES, width)
    mark = rng.choice((" ", " | ", ", ", "; "))
    rows = ([rng.choice(_NAMES), *(_number(rng) for _ in range(width - 1))] for _ in range(_LINES // 2))
    return "\n".join(mark.join(row) for row in (head, *rows))


def _log(rng: random.Random) -> str:
    lines = []
    for _ in range(_LINES // 2):
        when = f"20{rng.randrange(100):02}-{rng.randint(1, 12):02}-{rng.randint(1, 28):02} {_clock(rng)}"
        said = f"{rng.choice(_NAMES)} {rng.choice(('took', 'sent', 'at', 'line', 'code', 'of', ''))} {_number(rng)}"
        lines.append(f"{when} {rng.choice(('INFO', 'DEBUG', 'WARNING', 'ERROR'))} {rng.choice(_NAMES)}: {said}")
    return "\n".join(lines)


def _clock(rng: random.Random) -> str:
    return f"{rng.randrange(24):02}:{rng.randrange(60):02}:{rng.randrange(60):02}"


def _settings(rng: random.Random) -> str:
    mark = rng.choice((" = ", ": ", "=", " "))
    return "\n".join(f"{rng.choice(_NAMES)}_{rng.choice(_NAMES)}{mark}{_number(rng)}" for _ in range(_LINES))


def _object(rng: random.Random) -> str:
    rows = [{rng.choice(_NAMES): rng.randrange(10 ** rng.randint(1, 7)) for _ in range(4)} for _ in range(_LINES // 4)]
    return json.dumps(rows)


def _year(rng: random.Random) -> str:
    text = calendar.TextCalendar().formatmonth(rng.randint(1900, 2100), rng.randint(1, 12))
    return "\n".join(" ".join(line.split()) for line in text.splitlines())


def _listing(rng: random.Random) -> str:
    lines = []
    for step in itertools.islice(dis.get_instructions(rng.choice(_CODES)), 2 * _LINES):
        # Not as `dis` prints it: a code object's address, and a set's order, are each process's own.
        known = f" ({step.argval})" if isinstance(step.argval, int) or step.argval in _NAMES else ""
        lines.append(f"{step.offset} {step.opname}{'' if step.arg is None else f' {step.arg}'}{known}")
    return "\n".join(lines)


def _history(rng: random.Random) -> str:
    lines = []
    for _ in range(_LINES // 2):
        version = ".".join(str(rng.randrange(20)) for _ in range(rng.randint(2, 3)))
        lines.append(
            rng.choice(
                (
                    f"Changed in version {version}: {rng.choice(_NAMES)} takes {_number(rng)} of {rng.choice(_NAMES)}.",
                    f"New in {version}: {_call(rng)} is {_number(rng)} by default.",
                    f"{rng.choice(_NAMES)} {version} needs {rng.choice(_NAMES)} {_number(rng)} or later.",
                    f"See issue {rng.randrange(100_000)}, {rng.choice(_NAMES)} section {version}, page {_number(rng)}.",
                    f"The shape is ({', '.join(_numbers(rng, 3))}), the default {_number(rng)}.",
                    f"At least {_number(rng)}, at most {_number(rng)}; {rng.choice(_NAMES)} uses {_number(rng)}.",
                )
            )
        )
    return "\n".join(lines)


_KINDS: Sequence[Callable[[random.Random], str]] = (
    _session,
    _table,
    _session,
    _history,
    _log,
    _settings,
    _object,
    _year,
    _session,
    _listing,
    _history,
)
