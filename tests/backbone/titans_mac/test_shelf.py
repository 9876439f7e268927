"""Which model a name stands for."""

import ast
import subprocess
import sys

import pytest

from memsvc.backbone.load import BackboneConfig, load_backbone
from memsvc.backbone.titans_mac import checkpoint, shelf
from memsvc.backbone.titans_mac.shelf import Shelf
from memsvc.errors import FailedPreconditionError, InvalidArgumentError
from tests.backbone.titans_mac.build import bytes_tokenizer, save
from tests.backbone.titans_mac.conftest import lively, tiny


@pytest.fixture
def shipped(tmp_path, monkeypatch):
    monkeypatch.setattr(shelf, "SHIPPED", tmp_path / "shipped")
    return tmp_path / "shipped"


def test_a_file_a_folder_and_what_ships_are_found_by_their_names(shipped, tmp_path):
    save(shipped / "text.safetensors")
    file = save(tmp_path / "mine.safetensors", seed=1)
    folder = save(tmp_path / "run.1" / "model.safetensors", seed=2).parent
    assert Shelf(str(file)).first == "mine"
    assert Shelf(str(folder)).first == "run.1"
    assert Shelf("text").first == "text"
    digest = checkpoint.load(file).digest
    assert Shelf(str(file)).find("mine").identity == f"mine@{digest[:12]}"
    assert Shelf(str(file)).find("text").identity == Shelf().find("text").identity
    one = Shelf(str(folder))
    assert one.find("run.1") is one.find(one.find("run.1").identity)


def test_of_two_of_one_name_the_hash_decides_and_the_one_told_of_comes_first(shipped, tmp_path):
    save(shipped / "text.safetensors")
    told = save(tmp_path / "text.safetensors", seed=1)
    ships, both = Shelf().find("text"), Shelf(str(told))
    assert both.find("text").identity != ships.identity
    assert both.find(ships.identity).identity == ships.identity


def test_what_is_not_here_is_named_beside_what_is(shipped, tmp_path):
    with pytest.raises(FailedPreconditionError, match="has: none"):
        Shelf().find("text")
    with pytest.raises(FailedPreconditionError, match="do: none"):
        Shelf("text")
    save(shipped / "text.safetensors")
    with pytest.raises(FailedPreconditionError, match="has: text@") as failure:
        Shelf().find(f"text@{'0' * 12}")
    assert failure.value.reason == "NO_CONTEXT_MODEL"
    with pytest.raises(FailedPreconditionError, match="these do: text"):
        Shelf("dna")
    (tmp_path / "empty").mkdir()
    with pytest.raises(FailedPreconditionError, match="no model at"):
        Shelf(str(tmp_path / "empty")).find("empty")
    with pytest.raises(InvalidArgumentError, match="letters, digits"):
        Shelf(str(save(tmp_path / "a b.safetensors")))


def test_a_model_whose_tokenizer_is_anothers_is_refused(tmp_path):
    file = tmp_path / "narrow.safetensors"
    checkpoint.save(file, lively(tiny()), bytes_tokenizer(), {})
    with pytest.raises(FailedPreconditionError, match="more tokens than it knows"):
        Shelf(str(file)).find("narrow")


async def test_a_backbone_of_that_kind_is_loaded_at_its_start(tmp_path):
    backbone = load_backbone(BackboneConfig(name=f"titans-mac:{save(tmp_path / 'small.safetensors')}", threads=1))
    await backbone.start()
    await backbone.close()
    with pytest.raises(InvalidArgumentError, match="titans-mac:<file"):
        load_backbone(BackboneConfig(name="titans-mac:"))
    gone = load_backbone(BackboneConfig(name="titans-mac:nowhere", threads=1))
    with pytest.raises(FailedPreconditionError, match="nowhere"):
        await gone.start()
    await gone.close()


def test_a_server_does_not_import_the_model_before_it_needs_it():
    code = "import sys, memsvc.server.app; print([name for name in sys.modules if 'titans_mac' in name])"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    # Names and numbers alone.
    expected = {"memsvc.backbone.titans_mac"} | {f"memsvc.backbone.titans_mac.{name}" for name in ("config", "shelf")}
    assert set(ast.literal_eval(ran.stdout)) == expected
