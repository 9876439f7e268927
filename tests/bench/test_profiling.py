"""Where the time goes, in the short form: parts stand beside all, and are no more than it."""

from memsvc_bench import profiling


def test_parts_are_no_more_than_the_whole():
    result = profiling.bench(scale=profiling.QUICK)
    assert result.command == "memsvc bench profile"
    for name, least in (("ingest, an entry", ("encoder", "memory", "index")), ("recall", ("encoder", "vectors"))):
        rows = {row.partition(": ")[2]: figures for row, figures in result.figures.items() if row.startswith(name)}
        whole = rows.pop("all")
        assert all(rows[part]["ms"] > 0 for part in least)
        assert sum(row["ms"] for row in rows.values()) <= whole["ms"]
        assert sum(row["share"] for row in rows.values()) <= whole["share"] == 1
        assert whole["unprofiled_ms"] > 0
    for row in ("service: an entry", "service: a recall"):
        assert result.figures[row]["ms"] > 0
        assert result.figures[row]["server_cpu_ms"] > 0
