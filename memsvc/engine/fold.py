"""The fold of a log, start to end, without a server: state = fold(log). Verification and benchmarks use it."""

from collections.abc import Iterable

from memsvc.engine.ingest import Ingest
from memsvc.engine.lane import Lane
from memsvc.engine.runner import Runner
from memsvc.store.types import Record
from memsvc.tenant.view import View

UNIT_TOKENS = 2048


def fold(runner: Runner, uid: str, records: Iterable[Record]) -> View:
    """Fold a tenant's records, from its CREATE on, into a view that stays attached to the runner under that uid.

    Raises:
        DataLossError: a record cannot be read or does not follow the one before.
    """
    failures: list[BaseException] = []
    view = View(runner.encoder.dim)
    ingest = Ingest(runner)
    ingest.attach(lane := Lane(uid, view, lambda record: None, failures.append))
    for record in records:
        ingest.push(lane, record)
    while ingest.unit(UNIT_TOKENS):
        pass
    if failures:
        raise failures[0]
    return view
