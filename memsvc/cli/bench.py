"""`memsvc bench`: every published figure, one command each. It prints one result and succeeds if its checks hold."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from memsvc.cli.bench_all import bench_all
from memsvc.cli.bench_needle import needle
from memsvc.cli.bench_peers import first_token, guard, kernels, offload, peers, scale
from memsvc.cli.options import AsJson, LoCoMo
from memsvc.cli.publish import publish


def bench_app() -> typer.Typer:
    """Return the command group."""
    app = typer.Typer(help="Measure what the documentation claims, on this machine.", no_args_is_help=True)
    for command in (
        locomo,
        documents,
        genomics,
        memory,
        levers,
        importance,
        duplicates,
        forgetting,
        drift,
        service,
        footprint,
        stability,
        crash,
        faults,
        gate,
        past,
        erasure,
        isolation,
        fuzz,
        hostile,
        redis,
        overhead,
        profile,
        context,
        context_capacity,
        needle,
        peers,
        scale,
        kernels,
        first_token,
        offload,
        guard,
    ):
        app.command()(command)
    app.command("all")(bench_all)
    return app


def locomo(
    *,
    data: LoCoMo,
    conversations: Annotated[
        str, typer.Option(help="Only these, by their ids.", metavar="A,B…", show_default=False)
    ] = "",
    as_json: AsJson = False,
) -> None:
    """Measure recall on real conversations, beside its controls."""
    # A benchmark brings the server's libraries.
    from memsvc_bench import locomo as benchmark  # noqa: PLC0415

    chosen = [name.strip() for name in conversations.split(",") if name.strip()]
    publish(lambda: benchmark.bench(data, chosen), as_json=as_json)


def documents(*, as_json: AsJson = False) -> None:
    """Measure recall on Python's own help, beside its controls."""
    from memsvc_bench import documents as benchmark  # noqa: PLC0415

    publish(benchmark.bench, as_json=as_json)


def genomics(*, as_json: AsJson = False) -> None:
    """Measure recall on DNA by its 6-grams, and drift to and from it."""
    from memsvc_bench import genomics as benchmark  # noqa: PLC0415

    publish(benchmark.bench, as_json=as_json)


def memory(
    *,
    data: LoCoMo,
    as_json: AsJson = False,
) -> None:
    """Measure the learned memory by its settings, beside cosine and the best linear memory."""
    from memsvc_bench import memory as benchmark  # noqa: PLC0415

    publish(lambda: benchmark.bench(data), as_json=as_json)


def levers(*, data: LoCoMo, as_json: AsJson = False) -> None:
    """Measure what might lift the learned memory over the best linear one."""
    from memsvc_bench import levers as benchmark  # noqa: PLC0415

    publish(lambda: benchmark.bench(data), as_json=as_json)


def importance(
    *,
    data: LoCoMo,
    as_json: AsJson = False,
) -> None:
    """Measure which entries a full tenant keeps, beside random, age and use."""
    from memsvc_bench import importance as benchmark  # noqa: PLC0415

    publish(lambda: benchmark.bench(data), as_json=as_json)


def duplicates(*, data: LoCoMo, as_json: AsJson = False) -> None:
    """Measure what merging duplicates does to recall, with and without copies of every turn."""
    from memsvc_bench import duplicates as benchmark  # noqa: PLC0415

    publish(lambda: benchmark.bench(data), as_json=as_json)


def forgetting(*, as_json: AsJson = False) -> None:
    """Measure how many facts the memory alone holds, and for how long."""
    from memsvc_bench import forgetting as benchmark  # noqa: PLC0415

    publish(benchmark.bench, as_json=as_json)


def drift(
    *,
    data: LoCoMo,
    plays: Annotated[
        Path | None, typer.Option(exists=True, dir_okay=False, help="A text of plays, one domain more.", metavar="FILE")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Measure false alarms, detection, and what a restart is worth."""
    from memsvc_bench import drift as benchmark  # noqa: PLC0415

    publish(lambda: benchmark.bench(data, plays=plays), as_json=as_json)


def service(
    *,
    data: Annotated[
        Path | None,
        typer.Option(exists=True, dir_okay=False, help="A LoCoMo file, whose turns are written.", metavar="FILE"),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Measure throughput and latency, beside the encoder alone and FAISS."""
    from memsvc_bench import service as benchmark  # noqa: PLC0415

    publish(lambda: benchmark.bench(data), as_json=as_json)


def footprint(*, as_json: AsJson = False) -> None:
    """Measure what tenants cost while nobody uses them, on disk and in memory."""
    from memsvc_bench import footprint as benchmark  # noqa: PLC0415

    publish(benchmark.bench, as_json=as_json)


def stability(*, as_json: AsJson = False) -> None:
    """Run adversarial streams through memories of every depth at full width."""
    from memsvc_bench import stability as benchmark  # noqa: PLC0415

    publish(benchmark.bench, as_json=as_json)


def crash(
    *,
    times: Annotated[int, typer.Option(min=1, help="How many kills.")] = 20,
    seed: Annotated[int, typer.Option(help="Seeds the moments of the kills.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Kill a server under load, over and over, and check that nothing acknowledged is lost."""
    from memsvc_bench import crash as benchmark  # noqa: PLC0415

    publish(lambda: benchmark.bench(times=times, seed=seed), as_json=as_json)


def faults(
    *,
    rounds: Annotated[int, typer.Option(min=1, help="How many faults.")] = 100,
    tenants: Annotated[int, typer.Option(min=1, help="Tenants that are written.")] = 64,
    clients: Annotated[int, typer.Option(min=1, help="Clients that write.")] = 8,
    store: Annotated[Literal["sqlite", "redis"], typer.Option(help="What keeps the logs.")] = "sqlite",
    seed: Annotated[int, typer.Option(help="Seeds what is broken when.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Break a deployment under load in every way, and check that nothing acknowledged is lost, doubled or moved."""
    from memsvc_bench import faults as benchmark  # noqa: PLC0415

    publish(
        lambda: benchmark.bench(store=store, rounds=rounds, tenants=tenants, clients=clients, seed=seed),
        as_json=as_json,
    )


def gate(*, data: LoCoMo, as_json: AsJson = False) -> None:
    """Measure what the surprise gate costs recall and saves the writers, by policy."""
    from memsvc_bench import gate as benchmark  # noqa: PLC0415

    publish(lambda: benchmark.bench(data), as_json=as_json)


def past(*, as_json: AsJson = False) -> None:
    """Compare the past with tenants that received no more, and time asking it."""
    from memsvc_bench import past as benchmark  # noqa: PLC0415

    publish(benchmark.bench, as_json=as_json)


def erasure(*, as_json: AsJson = False) -> None:
    """Time exact erasure, and look for the text in every file."""
    from memsvc_bench import erasure as benchmark  # noqa: PLC0415

    publish(benchmark.bench, as_json=as_json)


def isolation(
    *,
    minutes: Annotated[float, typer.Option(min=0.01, help="How long.")] = 10.0,
    tenants: Annotated[int, typer.Option(min=2, help="How many.")] = 1000,
    slots: Annotated[int, typer.Option(min=1, help="How many of them have their weights ready.")] = 16,
    offload: Annotated[
        bool, typer.Option("--offload/--no-offload", help="Whether weights leave their slots between steps.")
    ] = False,
    seed: Annotated[int, typer.Option(help="Of all that is random.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Look for one tenant's text or state in another's, while slots and memory are too few for all."""
    from memsvc_bench import isolation as benchmark  # noqa: PLC0415

    scale = benchmark.Scale(minutes=minutes, tenants=tenants, slots=slots)
    publish(lambda: benchmark.bench(scale=scale, offload=offload, seed=seed), as_json=as_json)


def fuzz(
    *,
    count: Annotated[int, typer.Option(min=100, help="How many inputs.")] = 100_000,
    seed: Annotated[int, typer.Option(help="Of all that is random.")] = 0,
    replay: Annotated[
        Path | None,
        typer.Option(exists=True, dir_okay=False, help="Send only what a failure's file has.", metavar="FILE"),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Send damaged and hostile input of every kind, and check that the server lives, answers and changes nothing."""
    from memsvc_bench import fuzz as benchmark  # noqa: PLC0415

    publish(lambda: benchmark.bench(count=count, seed=seed, replay=replay), as_json=as_json)


def hostile(
    *,
    minutes: Annotated[float, typer.Option(min=0.01, help="How long.")] = 10.0,
    connections: Annotated[int, typer.Option(min=4, help="In all, half of them the hostile tenant's.")] = 500,
    tenants: Annotated[int, typer.Option(min=2, help="In all, one of them hostile.")] = 64,
    rate: Annotated[float, typer.Option(min=1, help="Calls a second of the others.")] = 40.0,
    config: Annotated[
        Path | None,
        typer.Option(exists=True, dir_okay=False, help="Settings of the server, quotas say.", metavar="FILE"),
    ] = None,
    seed: Annotated[int, typer.Option(help="Of all that is random.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Let one tenant do what harm it can, and measure what the others wait, with it and without."""
    from memsvc_bench import hostile as benchmark  # noqa: PLC0415

    scale = benchmark.Scale(minutes=minutes, connections=connections, tenants=tenants, rate=rate)
    publish(lambda: benchmark.bench(scale=scale, config=config, seed=seed), as_json=as_json)


def redis(
    *,
    seed: Annotated[int, typer.Option(help="Seeds what is written.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Measure the store in Redis, beside its commits sent raw and the store in SQLite. It needs `redis-server`."""
    from memsvc_bench import redis_store as benchmark  # noqa: PLC0415

    publish(lambda: benchmark.bench(seed=seed), as_json=as_json)


def overhead(
    *,
    starts: Annotated[int, typer.Option(min=1, help="How often all servers are started.")] = 10,
    seed: Annotated[int, typer.Option(help="Of the intervals.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Measure what metrics and traces cost a unary call, beside servers without them."""
    from memsvc_bench import overhead as benchmark  # noqa: PLC0415

    publish(lambda: benchmark.bench(seed=seed, scale=benchmark.Scale(starts=starts)), as_json=as_json)


def profile(*, as_json: AsJson = False) -> None:
    """Measure where the time of an ingest and of a recall goes, by the parts of the work."""
    from memsvc_bench import profiling as benchmark  # noqa: PLC0415

    publish(benchmark.bench, as_json=as_json)


def context(*, as_json: AsJson = False) -> None:
    """Measure ingest with a context memory, beside ingest without."""
    from memsvc_bench import context_ingest as benchmark  # noqa: PLC0415

    publish(benchmark.bench, as_json=as_json)


def context_capacity(*, as_json: AsJson = False) -> None:
    """Measure how many facts a context memory holds by its size, outside of any model."""
    from memsvc_bench import context_capacity as benchmark  # noqa: PLC0415

    publish(benchmark.bench, as_json=as_json)
