"""Configurations: what is refused, and by what name."""

import pytest

from memsvc.backbone.titans_mac.config import ContextMemoryConfig, MacConfig
from memsvc.errors import InvalidArgumentError
from tests.backbone.titans_mac.conftest import tiny


def test_a_configuration_survives_json():
    config = tiny(3, gate="surprise", readout="kv")
    assert MacConfig.from_json(config.to_json()) == config


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"heads": 3}, "heads"),
        ({"chunk": 0}, "chunk"),
        ({"memory_layer": 3}, "memory_layer"),
        ({"conv": 33}, "conv"),
        ({"colour": 1}, "colour"),
        ({"width": 40}, "width"),
        ({"memory": {"hidden": 40}}, "memory.hidden"),
        ({"memory": {"depth": 13}}, "memory.depth"),
        ({"memory": {"gate": "ajar"}}, "memory.gate"),
        ({"memory": {"clip": 0.0}}, "memory.clip"),
        ({"memory": {"width": 8}}, "memory.width"),
    ],
)
def test_what_cannot_be_is_refused_by_name(changes, field):
    with pytest.raises(InvalidArgumentError) as refused:
        MacConfig.from_json(tiny().to_json() | changes)
    assert refused.value.field == field


def test_a_configuration_without_a_vocabulary_is_refused():
    with pytest.raises(InvalidArgumentError, match="vocabulary"):
        MacConfig.from_json({})


def test_every_layer_of_a_memory_has_a_shape():
    assert ContextMemoryConfig(depth=4, key=5, hidden=32, value=3).shapes == ((32, 5), (32, 32), (32, 32), (3, 32))
