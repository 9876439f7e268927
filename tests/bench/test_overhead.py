"""What it costs to be watched, in the short form: every variant is called, and called as the plain server is."""

from pathlib import Path

from memsvc_bench import overhead


def test_every_variant_stands_beside_the_plain_server():
    result = overhead.bench(scale=overhead.QUICK)
    assert result.command == "memsvc bench overhead --starts 2 --seed 0"
    names = [variant.name for variant in overhead.variants("", Path())]
    rows = {name: row for name, row in result.figures.items() if isinstance(row, dict)}
    assert list(rows) == [f"{method}, {name}" for method in ("get", "write") for name in names]
    for row in rows.values():
        assert -1 < row["at_least"] <= row["cpu_share_more"] <= row["at_most"]
    checked = {name for name in rows if any(name in check.name for check in result.checks)}
    assert checked == {name for name in rows if "again" not in name and "all" not in name}
