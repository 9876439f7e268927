"""The benchmark of offloaded weights in its short form."""

import pytest
from memsvc_bench import offload
from memsvc_bench.report import Result

from memsvc.errors import FailedPreconditionError
from memsvc.memory import devices
from tests.engine.fake_device import FakeDevice

CASES = [f"depth {depth}, turns of {turn} tokens" for depth in offload.QUICK.depths for turn in offload.QUICK.turns]


@pytest.fixture(scope="module", params=["cpu", "apart"])
def result(request) -> Result:
    device = FakeDevice()
    with pytest.MonkeyPatch.context() as patch:
        if request.param == "apart":
            patch.setattr(offload, "choose_device", lambda name, dtype: device)
        result = offload.bench(scale=offload.QUICK)
    assert not device.hazards
    assert (device.copies > 0) == (request.param == "apart")
    return result


def test_offloaded_every_turn_pulls_its_weights_and_resident_none_does(result):
    for case in CASES:
        assert result.figures[f"{case}: resident"]["pulls_per_turn"] == 0
        assert result.figures[f"{case}: offloaded"]["pulls_per_turn"] == 1


def test_the_ratio_is_that_of_the_rates(result):
    for depth in offload.QUICK.depths:
        for turn in offload.QUICK.turns:
            rates = [
                result.figures[f"depth {depth}, turns of {turn} tokens: {way}"]["tokens_per_s"]
                for way in ("resident", "offloaded")
            ]
            ratio = result.figures[f"depth_{depth}_turns_of_{turn}_resident_over_offloaded"]
            assert ratio == pytest.approx(rates[0] / rates[1])


def test_both_ways_come_to_the_same_weights(result):
    assert [check.ok for check in result.checks if "same weights" in check.name] == [True] * 2


def test_fewer_slots_take_less_of_the_device(result):
    for depth in offload.QUICK.depths:
        resident, offloaded = (result.figures[f"depth {depth}, memory: {way}"] for way in ("resident", "offloaded"))
        tenants, slots = offload.QUICK.tenants, 2 * offload.QUICK.together
        assert resident["slots_bytes"] / tenants == offloaded["slots_bytes"] / slots


def test_a_full_turn_has_its_target():
    scale = offload.Scale(
        width=16, depths=(2,), chunk=2048, tenants=3, together=1, turns=(offload.CHECKED,), threads=1, rounds=1
    )
    checks = {check.name: check.target for check in offload.bench(scale=scale).checks}
    assert checks["depth 2, turns of 4096 tokens: ratio"] == "<= 1.15"


def test_a_device_that_is_not_there_is_refused(monkeypatch):
    monkeypatch.setattr(devices.torch.cuda, "is_available", lambda: False)
    with pytest.raises(FailedPreconditionError, match="memory_device"):
        offload.bench(device="cuda", scale=offload.QUICK)
