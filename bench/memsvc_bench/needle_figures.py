"""The needle benchmark's rows as figures, with intervals, and the checks on them."""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from memsvc.train.needle import CONDITIONS, Condition, NeedleRow
from memsvc_bench.haystack import Kind
from memsvc_bench.needle_plan import NEEDLES, SHIPPED, Pass, Table
from memsvc_bench.report import Check

Results = Mapping[Pass, list[NeedleRow]]
Rows = dict[str, dict[str, Any]]

_Z = 1.96
CHANCE: Mapping[Kind, float] = {"text": 0.1, "dialogue": 0.1, "dna": 0.25}
"""Share of right tokens of who knows only that digits, or bases, follow."""
NEAR = 0.05
"""How far from chance a control may be: digits of an answer are not equally likely."""


class Key(NamedTuple):
    """What rows have in common that are one figure."""

    table: Table
    model: str
    family: str
    condition: Condition
    hay: str
    needles: int
    length: int


def wilson(share: float, n: int) -> tuple[float, float]:
    """Return the bounds of 95 % of a share of n (Wilson 1927)."""
    square = _Z**2 / n
    middle = (share + square / 2) / (1 + square)
    reach = _Z * (share * (1 - share) / n + square / n / 4) ** 0.5 / (1 + square)
    return middle - reach, middle + reach


def shares(exact: float, n: int) -> dict[str, Any]:
    """Return a share of n answers as columns, with its bounds of 95 %."""
    low, high = wilson(exact, n)
    return {"n": n, "exact": exact, "at_least": low, "at_most": high}


def merged(results: Results) -> dict[Key, NeedleRow]:
    """Return one row for each figure, over all passes that ask for it, ordered as a table is read."""
    found: dict[Key, list[NeedleRow]] = {}
    for each, rows in results.items():
        for row in rows:
            key = Key(each.table, each.model, each.family, each.condition, each.hay, each.needles, row.length)
            found.setdefault(key, []).append(row)
    conditions = {name: i for i, name in enumerate(CONDITIONS)}
    order = sorted(
        found,
        key=lambda k: (
            (k.table, k.model != SHIPPED, k.model, k.family == "fresh", k.family, k.hay != "unseen", k.hay),
            (conditions[k.condition], k.needles, k.length),
        ),
    )
    return {key: _one(found[key]) for key in order}


def listed(rows: Mapping[Key, NeedleRow]) -> list[dict[str, Any]]:
    """Return all answers by what was asked, for programs; the tables are made of the same."""
    return [
        {
            **{"table": key.table, "model": key.model, "family": key.family, "haystack": key.hay},
            **{"needles": key.needles, **row._asdict()},
        }
        for key, row in rows.items()
    ]


def _one(rows: list[NeedleRow]) -> NeedleRow:
    n = sum(row.n for row in rows)

    def mean(name: str) -> float:
        return sum(float(getattr(row, name)) * row.n for row in rows) / n

    first = rows[0]
    shares = (mean(name) for name in ("exact", "digits", "gate_share"))
    return NeedleRow(first.condition, first.length, mean("depth"), n, *shares)


def curve(rows: Mapping[Key, NeedleRow]) -> Rows:
    """Return exact by length, of each family, condition and haystack; facts told plainly come last."""
    found = {}
    for key, row in rows.items():
        if key.table in {"curve", "plain"}:
            hay = "" if key.hay == "unseen" else f", {key.hay} haystack"
            label = f"{key.family}, {key.condition}{hay}, {key.length:,}"
            found[label] = {
                "length": row.length,
                "depth": row.depth,
                **shares(row.exact, row.n),
                "digits": row.digits,
                "gate_share": row.gate_share,
            }
    return found


def capacity(rows: Mapping[Key, NeedleRow]) -> Rows:
    """Return exact by the number of facts of a stream, near and far."""
    lengths = {key.length for key in rows if key.table == "capacity"}
    plain = Key("curve", SHIPPED, "similar", "memory", "unseen", NEEDLES, 0)
    chosen = [key for key in rows if key.table == "capacity"]
    chosen += [key for key in rows if key.length in lengths and key._replace(length=0) == plain]
    chosen.sort(key=lambda key: (key.model != SHIPPED, key.model, key.length, key.needles))
    return {
        f"{'' if key.model == SHIPPED else f'{key.model}, '}{key.needles} facts, {key.length:,}": {
            "facts": key.needles,
            "tokens": key.length,
            **shares(rows[key].exact, rows[key].n),
            "gate_share": rows[key].gate_share,
        }
        for key in chosen
    }


def niah(rows: Mapping[Key, NeedleRow]) -> Rows:
    """Return RULER's single needles by length."""
    return {
        f"{key.family}, {key.length:,}": {"haystack": key.hay, **shares(row.exact, row.n), "tokens_right": row.digits}
        for key, row in rows.items()
        if key.table == "s-niah"
    }


def ablations(rows: Mapping[Key, NeedleRow]) -> Rows:
    """Return exact by length, a row for each model and switch; lengths that few went to have rows of their own."""
    asked: dict[str, dict[int, NeedleRow]] = {}
    for key, row in rows.items():
        if key.table == "ablation":
            asked.setdefault(key.model, {})[key.length] = row
    common = sorted(set.intersection(*map(set, asked.values()))) if asked else []
    found: Rows = {
        model: {
            "n": by_length[common[0]].n,
            **{f"exact_at_{length:,}": by_length[length].exact for length in common},
            "gate_share": by_length[common[-1]].gate_share,
        }
        for model, by_length in asked.items()
    }
    for model, by_length in asked.items():
        for length, row in by_length.items():
            if length not in common:
                found[f"{model}, {length:,}"] = {**shares(row.exact, row.n), "gate_share": row.gate_share}
    return found


def checks(kind: Kind, rows: Mapping[Key, NeedleRow], many: int, longest: int) -> Iterator[Check]:
    """Yield what the answers had to reach.

    Args:
        kind: of the model.
        rows: merged.
        many: facts of a stream, most of which are to be found.
        longest: the length that the targets are for.
    """
    plain = Key("curve", SHIPPED, "similar", "memory", "unseen", NEEDLES, longest)
    yield Check.at_least(f"similar, exact at {longest:,}", rows[plain].exact, 0.97)
    yield Check.at_least(f"fresh, exact at {longest:,}", rows[plain._replace(family="fresh")].exact, 0.9)
    full = plain._replace(table="capacity", needles=many)
    yield Check.at_least(f"{many} facts, exact at {longest:,}", rows[full].exact, 0.9)
    for condition in CONDITIONS[1:]:
        digits = max(row.digits for key, row in rows.items() if key.table == "curve" and key.condition == condition)
        yield Check.at_most(f"{condition}, share of right tokens", digits, CHANCE[kind] + NEAR)
