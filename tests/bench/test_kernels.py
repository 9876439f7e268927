"""The kernels' benchmark in its short form."""

from importlib.util import find_spec

import pytest
from memsvc_bench import kernels
from memsvc_bench.report import Result

INSTALLED = find_spec("titans_pytorch") is not None


@pytest.fixture(scope="module")
def result() -> Result:
    return kernels.bench(scale=kernels.QUICK)


def test_every_shape_is_written_and_read(result):
    titans = [("write", kernels.TITANS), ("read", kernels.TITANS)] if INSTALLED else []
    rows = {name for name, row in result.figures.items() if isinstance(row, dict)}
    assert rows == {
        f"depth {depth}, tenants {tenants}, {what}: {way}"
        for depth in kernels.QUICK.depths
        for tenants in kernels.QUICK.tenants
        for what, way in [*(("write", way) for way in kernels.WAYS), ("read", "memsvc"), *titans]
    }
    assert INSTALLED or result.figures[kernels.TITANS] == "not installed"


def test_flops_are_counted_as_the_closed_form_needs_them(result):
    d = kernels.QUICK.width
    for depth, write in ((2, 14), (3, 22)):
        for what, flops in (("write", write), ("read", 2 * depth)):
            row = result.figures[f"depth {depth}, tenants 1, {what}: memsvc"]
            assert row["counted_gflop_per_s"] == pytest.approx(row["tokens_per_s"] * flops * d**2 / 1e9)
            assert row["share_of_peak"] == pytest.approx(
                row["counted_gflop_per_s"] / result.figures["fp32_peak_gflop_per_s"]
            )


def test_the_peak_has_its_target(result):
    checks = {check.name: check.target for check in result.checks}
    assert checks["tenants 1, write: share of the peak, memsvc"] == ">= 0.8"
    assert checks["tenants 1, write: share of the peak, memsvc, bfloat16"] == ">= 1.4"


def test_what_is_not_installed_is_named(monkeypatch):
    monkeypatch.setattr(kernels, "find_spec", lambda name: None)
    figures = kernels.bench(scale=kernels.QUICK).figures
    assert figures[kernels.TITANS] == "not installed"
    assert not [name for name in figures if name.endswith(f": {kernels.TITANS}")]
