"""The needle test through the service: tenants are told facts and haystack as entries, and a server is asked for them.

Nothing is recalled for a question, so that the context memory alone can answer it. As in the passes, the blank before a
value is given with the question: it says that a value follows. What is found without it is another row.
"""

import fcntl
import json
import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import torch
from memsvc_client import MemoryClient
from torch import Tensor

from memsvc.backbone.titans_mac.context_model import ContextModel
from memsvc.backbone.titans_mac.shelf import Shelf
from memsvc.train.needle import NeedleRow
from memsvc.train.source import Fact
from memsvc_bench import service_load as load
from memsvc_bench.haystack import Kind
from memsvc_bench.needle_facts import facts
from memsvc_bench.needle_figures import CHANCE, NEAR, Key, Rows, shares
from memsvc_bench.needle_plan import NEEDLES, SHIPPED, Scale
from memsvc_bench.needle_run import Task, haystack
from memsvc_bench.progress import told
from memsvc_bench.report import Check
from memsvc_bench.server_process import ServerProcess

_KEPT = "service.json"
_THREADS = 1
"""Of the server; its client has the other core."""
_ENTRY, _GAP = 2_000, 100
"""Characters of an entry of haystack, and of one before a fact, at least, but for the last."""
_OWN = "through the service"
_ALONE, _OTHERS = f"{_OWN}, no blank after the question", f"{_OWN}, other tenant"
_SHARE = 0.9
"""Of what the passes find."""


class _Tenant(NamedTuple):
    """One tenant."""

    facts: Sequence[Fact]
    entries: Sequence[str]
    """All that it is told."""
    tokens: int
    """Of all that, in its context memory."""


class _Asked(NamedTuple):
    """An answer beside what it should have been."""

    value: str
    answer: str


def through(task: Task, scale: Scale) -> Rows:
    """Return what is found through a server, of the tenant that was told it and of another; nothing without tenants.

    Args:
        task: prepared; what its folder has is not asked for again.
        scale: how many tenants, and how long what they are told is.

    Raises:
        InvalidArgumentError: a server cannot call the model as its file is called.
        RuntimeError: the server did not start.
    """
    if not scale.tenants:
        return {}
    file, plan = task.folder / _KEPT, {"tenants": scale.tenants, "length": _length(scale)}
    if file.exists() and (kept := json.loads(file.read_text()))["plan"] == plan:
        found: Rows = kept["rows"]
        return found
    found = served(task.models[SHIPPED], task.kind, haystack(task.folder, "unseen"), **plan)
    file.write_text(json.dumps({"plan": plan, "rows": found}))
    return found


def served(path: Path, kind: Kind, hay: Tensor, *, tenants: int, length: int) -> Rows:
    """Return what a server of a model finds: a row for its tenants' own facts, and one for their neighbours'.

    Where a blank comes before values, there is another for their own without it.

    Args:
        path: of the model.
        kind: of its facts.
        hay: tokens of ordinary text, [n]; each tenant is told it from somewhere on, and at its end it begins again.
        tenants: two at least.
        length: tokens that each is told, at least.

    Raises:
        FailedPreconditionError: there is no such model.
        InvalidArgumentError: a server cannot call it as its file is called.
        RuntimeError: the server did not start.
    """
    shelf = Shelf(str(path))
    model, rng = shelf.find(shelf.first), random.Random("service")  # a seed, no secret
    draw = facts(kind, "similar", model.tokenizer)
    people = [_tenant(model, draw(rng, NEEDLES), hay, rng.randrange(len(hay)), length) for _ in range(tenants)]
    with TemporaryDirectory() as scratch, (Path(scratch) / "held").open("w") as held:
        # The server ends with this process, however that ends.
        fcntl.flock(held, fcntl.LOCK_SH)
        # Recall has no part in it: any encoder will do.
        options = ["--encoder", "kmer", "--threads", str(_THREADS), "--backbone", f"titans-mac:{path}"]
        options += ["--while-held", held.name]
        with ServerProcess(Path(scratch) / "data", options) as server, MemoryClient(server.target) as client:
            asked = _answers(client, model, people)
            server.stop()
    size = {"tenants": tenants, "tokens": min(tenant.tokens for tenant in people)}
    return {_label(name, length): size | _row(answers) for name, answers in asked.items() if answers}


def checks(kind: Kind, rows: Mapping[Key, NeedleRow], found: Rows, scale: Scale) -> Iterator[Check]:
    """Yield what a server's answers had to reach, held against those of the passes.

    Args:
        kind: of the model.
        rows: of the passes, merged.
        found: through the server.
        scale: what was asked.
    """
    if not found:
        return
    length = _length(scale)
    direct = rows[Key("curve", SHIPPED, "similar", "memory", "unseen", NEEDLES, length)].exact
    own, others = (found[_label(name, length)] for name in (_OWN, _OTHERS))
    yield Check.at_least(f"{_OWN}, exact at {length:,}", own["exact"], _SHARE * direct)
    yield Check.at_most(f"{_OTHERS}, share of right characters", others["right"], CHANCE[kind] + NEAR)


def _length(scale: Scale) -> int:
    return max(length for length in scale.lengths if length <= scale.short)


def _answers(client: MemoryClient, model: ContextModel, people: Sequence[_Tenant]) -> dict[str, list[_Asked]]:
    for i, tenant in enumerate(told(people, "service")):
        client.create_tenant(str(i), context_memory=model.identity)
        load.ingest(client, str(i), tenant.entries)
    asked: dict[str, list[_Asked]] = {_OWN: [], _ALONE: [], _OTHERS: []}
    for i, tenant in enumerate(people):
        asked[_OWN] += _ask(client, str(i), model, tenant.facts)
        asked[_ALONE] += _ask(client, str(i), model, [fact._replace(free=0) for fact in tenant.facts if fact.free])
        asked[_OTHERS] += _ask(client, str(i), model, people[i - 1].facts)
    return asked


def _label(name: str, length: int) -> str:
    return f"{name}, {length:,}"


def _tenant(model: ContextModel, drawn: Sequence[Fact], hay: Tensor, place: int, length: int) -> _Tenant:
    """Return a tenant that is told facts, each after a little haystack, and then haystack alone."""
    text = model.text(hay[torch.arange(place, place + length) % len(hay)].tolist())
    entries = list[str]()
    for fact in drawn:
        gap, text = _cut(text, _GAP)
        entries += [gap, _words(model, (*fact.before, *fact.value, *fact.after))]
    tokens = _count(model, entries)
    while tokens < length and text:
        piece, text = _cut(text, _ENTRY)
        entries.append(piece)
        tokens += _count(model, [piece])
    return _Tenant(drawn, entries, tokens)


def _cut(text: str, characters: int) -> tuple[str, str]:
    """Return the lines of a text's first so many characters, and the rest; too long a line is cut.

    The end of the last line goes: in the stream, one follows each entry.
    """
    end = text.find("\n", characters, 2 * characters)
    return (text[:characters], text[characters:]) if end < 0 else (text[:end], text[end + 1 :])


def _words(model: ContextModel, tokens: Iterable[int]) -> str:
    """Return tokens as someone would write them, without the blank that parts them from a text before."""
    return model.text(list(tokens)).strip()


def _count(model: ContextModel, entries: Iterable[str]) -> int:
    return sum(len(model.entry(entry)) for entry in entries)


def _ask(client: MemoryClient, tenant: str, model: ContextModel, asked: Iterable[Fact]) -> Iterator[_Asked]:
    for fact in asked:
        prompt = _words(model, fact.question) + model.text(fact.value[: fact.free])
        tokens = client.generate(tenant, prompt, max_tokens=len(fact.value) - fact.free, k=0)
        yield _Asked(_words(model, fact.value), "".join(token.text for token in tokens).strip())


def _row(asked: Sequence[_Asked]) -> dict[str, Any]:
    exact = sum(answer.startswith(value) for value, answer in asked) / len(asked)
    right = [sum(map(str.__eq__, value, answer)) / len(value) for value, answer in asked]
    return {**shares(exact, len(asked)), "right": sum(right) / len(right)}
