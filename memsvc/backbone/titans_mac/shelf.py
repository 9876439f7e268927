"""The models that a server has: those that ship with it, and the one that it was told of."""

import asyncio
import re
import threading
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from memsvc.errors import FailedPreconditionError, InvalidArgumentError

if TYPE_CHECKING:
    from memsvc.backbone.titans_mac.context_model import ContextModel

SHIPPED = Path(__file__).parent / "models"
IN_FOLDER = "model.safetensors"
"""What training calls a model's file."""
SUFFIX = ".safetensors"
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
IDENTITY = re.compile(NAME.pattern + r"@[0-9a-f]{12}")
"""`<name>@<first digits of its file's hash>`, which says exactly which model."""


class _Place(NamedTuple):
    name: str
    path: Path


class Shelf:
    """Finds models by their names. Each is loaded when it is first asked for, and stays. Threads may share one.

    Args:
        told: a model's file, the folder that training made, or the name of one that ships; empty for none.

    Attributes:
        first: the name of the model told of; empty for none.

    Raises:
        FailedPreconditionError: there is no such file or folder, and none of that name ships.
        InvalidArgumentError: a model cannot be called as its file is; names the setting.
    """

    def __init__(self, told: str = "") -> None:
        self._places = [_Place(path.name.removesuffix(SUFFIX), path) for path in sorted(SHIPPED.glob(f"*{SUFFIX}"))]
        self.first = ""
        if told:
            place = self._place(told)
            self._places.insert(0, place)
            self.first = place.name
        self._loaded: dict[Path, ContextModel] = {}
        self._lock = threading.Lock()

    def find(self, asked: str) -> "ContextModel":
        """Return the model called `<name>`, or `<name>@<hash>`; the first load takes part of a second.

        Raises:
            FailedPreconditionError: there is none (reason NO_CONTEXT_MODEL), or its file is damaged.
        """
        name = asked.partition("@")[0]
        with self._lock:
            for place in self._places:
                if place.name == name and asked in {name, (model := self._load(place)).identity}:
                    return model
            here = ", ".join(self._load(place).identity for place in self._places) or "none"
        raise FailedPreconditionError(
            f"this server has no model {asked} for a context memory; it has: {here}. A server gets one with "
            "--backbone titans-mac:<its file or folder>",
            reason="NO_CONTEXT_MODEL",
        )

    async def fetch(self, asked: str) -> "ContextModel":
        """Do as `find`, while the event loop goes on."""
        return await asyncio.to_thread(self.find, asked)

    def _load(self, place: _Place) -> "ContextModel":
        if place.path not in self._loaded:
            # Who has no tenant with a context memory need not import the model.
            from memsvc.backbone.titans_mac.checkpoint import load  # noqa: PLC0415
            from memsvc.backbone.titans_mac.context_model import ContextModel  # noqa: PLC0415

            self._loaded[place.path] = ContextModel(place.name, load(place.path))
        return self._loaded[place.path]

    def _place(self, told: str) -> _Place:
        path = Path(told)
        if path.is_dir():
            place = _Place(path.resolve().name, path / IN_FOLDER)
        elif path.is_file():
            place = _Place(path.name.removesuffix(SUFFIX), path)
        else:
            shipped = {place.name: place for place in self._places}
            if told not in shipped:
                raise FailedPreconditionError(
                    f"backbone: there is no file or folder {told}, and no model of that name ships; "
                    f"these do: {', '.join(shipped) or 'none'}"
                )
            place = shipped[told]
        if not NAME.fullmatch(place.name):
            raise InvalidArgumentError("backbone", "a model's name is of 1 to 64 letters, digits, dots, - and _")
        return place
