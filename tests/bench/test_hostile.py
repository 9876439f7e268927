"""The short form of the benchmark of a hostile tenant: what happens, not how fast."""

import pytest
from memsvc_bench import hostile
from memsvc_bench.hostile_process import Part


def test_the_others_are_served_and_the_server_ends_as_asked() -> None:
    result = hostile.bench(scale=hostile.QUICK, seed=1)
    checks = {check.name: check for check in result.checks}
    for name in (
        "calls of the others that failed",
        "calls of the hostile tenant that a limit refused",
        "it ended as asked",
        "no fault is in its log",
    ):
        assert checks[name].ok, (checks[name], result.figures)
    assert result.figures["calls_of_the_others"] > 10
    kinds = [name for name in result.figures if name.startswith("the hostile tenant: kind")]
    assert len(kinds) > 4


def test_the_servers_settings_come_from_the_file(tmp_path) -> None:
    config = tmp_path / "quotas.toml"
    config.write_text("nonsense = 1\n")
    with pytest.raises(RuntimeError, match="nonsense"):
        hostile.bench(scale=hostile.QUICK, config=config)


def test_a_part_of_the_load_that_ends_is_told() -> None:
    part = Part("memsvc_bench.hostile_load", "127.0.0.1:1", "1", "not a number", "1", "0")
    with part, pytest.raises(RuntimeError, match="hostile_load"):
        part.ask(prepare=True)
