"""The GPU's benchmark of the kernels in its short form, in Triton's interpreter."""

from importlib.util import find_spec

import pytest

pytestmark = pytest.mark.skipif(find_spec("triton") is None, reason="the package triton is not installed")


@pytest.fixture(scope="module")
def result():
    from memsvc_bench import kernels_gpu

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kernels_gpu, "find_spec", lambda name: None)
        return kernels_gpu.bench(scale=kernels_gpu.QUICK)


def test_every_shape_is_written_and_read(result):
    rows = {name for name, row in result.figures.items() if isinstance(row, dict)}
    assert rows == {
        f"depth {depth}, tenants {tenants}, {what}: memsvc"
        for depth in (2, 3)
        for tenants in (1, 2)
        for what in ("write", "read")
    }
    assert result.figures["titans-pytorch"] == "not installed"
    assert result.command == ("memsvc bench kernels --device cpu --depths 2,3 --tenants 1,2 --chunk 4 --rounds 1")
    assert result.to_json()


def test_delta_is_that_of_float64(result):
    checks = {check.name: check for check in result.checks}
    assert set(checks) == {f"depth {depth}: Δ beside the CPU's float64" for depth in (2, 3)}
    assert all(0 < check.value <= 1e-5 and check.ok for check in checks.values())


def test_flops_and_bytes_are_counted_beside_the_ceilings(result):
    width, chunk = 16, 4
    row = result.figures["depth 3, tenants 2, write: memsvc"]
    seconds = row["milliseconds"] / 1e3
    assert row["tokens_per_s"] == pytest.approx(2 * chunk / seconds)
    assert row["counted_gflop_per_s"] == pytest.approx(2 * chunk * 22 * width**2 / seconds / 1e9)
    assert row["counted_gbyte_per_s"] == pytest.approx(2 * 3 * 4 * width**2 * 4 / seconds / 1e9)
    shares = {
        "products": row["counted_gflop_per_s"] / result.figures["fp32_peak_gflop_per_s"],
        "memory": row["counted_gbyte_per_s"] / result.figures["copy_gbyte_per_s"],
    }
    assert row["share_of_fp32_peak"] == pytest.approx(shares["products"])
    assert row["share_of_bandwidth"] == pytest.approx(shares["memory"])
    assert row["bound_by"] == max(shares, key=shares.__getitem__)


def test_ten_times_is_checked_at_64_tenants(monkeypatch):
    from memsvc_bench import kernels_gpu

    times = {("memsvc", "write"): 1.0, ("memsvc", "read"): 1.0}
    times |= {("titans-pytorch", "write"): 11.0, ("titans-pytorch", "read"): None}
    monkeypatch.setattr(kernels_gpu, "_seconds", lambda *_, **__: times)
    scale = kernels_gpu.Scale(
        device="cpu", width=16, chunk=4, tenants=(16, 64), depths=(2,), rounds=1, seconds=0, peak_sizes=(64,), steps=1
    )
    result = kernels_gpu.bench(scale=scale)
    assert [(check.name, check.value) for check in result.checks if "over" in check.name] == [
        ("tenants 64, write: over titans-pytorch", 11.0)
    ]
    assert result.figures["depth 2, tenants 64, read: titans-pytorch"] == "out of memory"
