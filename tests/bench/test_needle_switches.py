"""What a trained model's memory is switched to: parts of its configuration, gates of surprise, and chunks."""

import pytest
import torch
from memsvc_bench.needle_switches import CHUNKS, SURPRISES, SWITCHES, is_switch, switched, switches

from memsvc.backbone.titans_mac.config import ContextMemoryConfig, MacConfig
from memsvc.backbone.titans_mac.model import TitansMac

READOUTS = ["readout: keys and values alone", "readout: residual alone"]
PARTS = ["gate: always open", "no momentum", "no decay", "first order", *READOUTS]
"""Of a model that has all parts."""
HAY = torch.randint(5, (2_048,), generator=torch.Generator().manual_seed(0))


def config(**memory):
    memory = ContextMemoryConfig(key=16, hidden=32, value=16, **memory)
    return MacConfig(vocabulary=5, width=32, heads=2, chunk=16, memory=memory)


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    model = TitansMac(config()).eval().requires_grad_(requires_grad=False)
    torch.nn.init.normal_(model.memory.rates.weight, std=0.7)
    model.memory.rates.bias.data[3] = -2.0
    return model


def parts(memory_config):
    return [name for name in switches(memory_config) if name in SWITCHES]


def test_each_part_is_switched_to_what_the_model_has_not():
    assert parts(config()) == PARTS
    bare = config(gate="open", momentum=False, decay=False, second_order=False)
    assert parts(bare) == ["gate: learned", "with momentum", "with decay", "second order", *READOUTS]
    assert set(parts(config(sure=4.0))) - set(PARTS) == {"all that is written counts alike"}
    assert not set(SURPRISES) & set(switches(config(gate="surprise")))
    assert set(CHUNKS) - set(switches(config())) == {"chunks of 16"}
    assert all(map(is_switch, switches(config())))
    assert not is_switch("wide")


@pytest.mark.parametrize(("readout", "entry"), [("kv", ["seen"]), ("residual", ["added"])])
def test_a_readout_alone_has_the_trained_weights_of_where_it_goes_and_no_others(model, readout, entry):
    name = next(name for name, changes in SWITCHES.items() if changes == {"readout": readout})
    alone = switched(model, name, HAY)
    weights = model.state_dict()
    assert all(torch.equal(tensor, weights[name]) for name, tensor in alone.state_dict().items())
    assert [name for name in alone.state_dict() if name.startswith("entry.")] == [f"entry.{n}.weight" for n in entry]
    # Its other weights were never trained.
    assert not set(READOUTS) & set(switches(alone.config))


@pytest.mark.parametrize(("name", "share"), list(SURPRISES.items()))
def test_surprise_alone_opens_the_gate_for_the_share_that_its_name_says(model, name, share):
    alone = switched(model, name, HAY)
    passed = alone.stream(HAY[None], alone.initial(1), learning=False)
    opened = int((passed.logit > 0).sum())
    assert abs(opened - share * len(HAY)) <= 2
    # Nothing but surprise: another bias of the token's own would show.
    assert alone.memory.surprise == 1
    assert model.memory.surprise == 0
    assert alone.stream(HAY[None], alone.initial(1)).write.sum() > 0


def test_a_memory_in_other_chunks_learns_in_them_behind_the_same_window(model):
    opened = switched(model, "gate: always open", HAY)
    longer = switched(opened, "chunks of 64", HAY)
    assert (opened.memory.chunk, longer.memory.chunk) == (16, 64)
    assert longer.config.window == model.config.window
    tokens = HAY[None, :128]
    one, other = (each.stream(tokens, each.initial(1)).hidden for each in (opened, longer))
    # What the first chunk wrote is read in the second, but not before the first long one is over.
    assert torch.equal(one[:, :16], other[:, :16])
    assert not torch.allclose(one[:, 16:64], other[:, 16:64])
    silent = longer.stream(tokens, longer.initial(1), learning=False).hidden
    assert torch.equal(other[:, :64], silent[:, :64])
    assert not torch.allclose(other[:, 64:], silent[:, 64:])
