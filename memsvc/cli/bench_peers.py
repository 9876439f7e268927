"""`memsvc bench peers`, `scale`, `kernels`, `first-token`, `offload`, `guard`: beside others, grown, and guarded."""

from typing import Annotated, Literal

import typer

from memsvc.cli.options import AsJson, LoCoMo
from memsvc.cli.publish import publish

NONE = "none"


def peers(
    *,
    data: LoCoMo,
    entries: Annotated[
        str, typer.Option(help="Sizes; from 100,000 on, vectors are given.", metavar="N,N…")
    ] = "1000,10000",
    peer: Annotated[
        list[str] | None, typer.Option(help="Only this one; may be repeated.", metavar="NAME", show_default=False)
    ] = None,
    peer_encoder: Annotated[
        Literal["memsvc", "sentence-transformers"], typer.Option(help="How the others run the encoder.")
    ] = "memsvc",
    rounds: Annotated[int, typer.Option(min=1, help="Ingests of each.")] = 3,
    queries: Annotated[int, typer.Option(min=1, help="Timed queries to each, at most.")] = 200,
    writes: Annotated[int, typer.Option(min=1, help="Single writes to each.")] = 50,
    as_json: AsJson = False,
) -> None:
    """Measure memsvc beside LangGraph's store, Chroma, FAISS with BM25, mem0 and cosine, with one encoder."""
    from memsvc_bench import peers as benchmark  # noqa: PLC0415
    from memsvc_bench.peer_stores import PEERS  # noqa: PLC0415

    scale = benchmark.Scale(entries=_numbers(entries, "--entries"), rounds=rounds, queries=queries, writes=writes)
    names = tuple(peer or PEERS)
    publish(lambda: benchmark.bench(data, names=names, way=peer_encoder, scale=scale), as_json=as_json)


def scale(
    *,
    history: Annotated[
        str, typer.Option(help="Tokens of one tenant, growing; none leaves it out.", metavar="N,N…")
    ] = "10000,100000,1000000",
    tenants: Annotated[
        str, typer.Option(help="Numbers of tenants; none leaves it out.", metavar="N,N…")
    ] = "1,10,100,1000",
    chunks: Annotated[
        str, typer.Option(help="Tokens of a memory's chunk; none leaves it out.", metavar="N,N…")
    ] = "16,32,64,128,256,512,1024,2048",
    depths: Annotated[
        str, typer.Option(help="Layers of a memory; none leaves it out.", metavar="N,N…")
    ] = "2,4,6,8,10,12",
    tokens: Annotated[int, typer.Option(min=100, help="Of all tenants together.")] = 50_000,
    rounds: Annotated[int, typer.Option(min=1, help="Of chunks, and of depths.")] = 3,
    as_json: AsJson = False,
) -> None:
    """Measure what the service costs as histories, tenants, chunks and depths grow."""
    from memsvc_bench import scale as benchmark  # noqa: PLC0415

    chosen = benchmark.Scale(
        history=sorted(_numbers(history, "--history")),
        tenants=_numbers(tenants, "--tenants"),
        chunks=_numbers(chunks, "--chunks"),
        depths=_numbers(depths, "--depths"),
        tokens=tokens,
        rounds=rounds,
    )
    publish(lambda: benchmark.bench(scale=chosen), as_json=as_json)


def kernels(
    *,
    device: Annotated[Literal["cpu", "cuda"], typer.Option(help="What computes.")] = "cpu",
    depths: Annotated[
        str | None, typer.Option(help="Layers; on cuda 2,8.", metavar="N,N…", show_default="2,4,8,12")
    ] = None,
    tenants: Annotated[
        str | None, typer.Option(help="In one batch; on cuda 1,16,64,256.", metavar="N,N…", show_default="1,16")
    ] = None,
    chunk: Annotated[int, typer.Option(min=2, help="Tokens of a step.")] = 64,
    threads: Annotated[int, typer.Option(min=1, help="Cores, on cpu.")] = 2,
    rounds: Annotated[int, typer.Option(min=1, help="Of all, by turns.")] = 5,
    as_json: AsJson = False,
) -> None:
    """Measure the memory's kernels beside titans-pytorch and the machine's peak in matrix products."""
    if device == "cuda":
        from memsvc_bench import kernels_gpu  # noqa: PLC0415

        on_gpu = kernels_gpu.Scale(
            depths=_numbers(depths or "2,8", "--depths"),
            tenants=_numbers(tenants or "1,16,64,256", "--tenants"),
            chunk=chunk,
            rounds=rounds,
        )
        publish(lambda: kernels_gpu.bench(scale=on_gpu), as_json=as_json)
        return
    from memsvc_bench import kernels as benchmark  # noqa: PLC0415

    chosen = benchmark.Scale(
        depths=_numbers(depths or "2,4,8,12", "--depths"),
        tenants=_numbers(tenants or "1,16", "--tenants"),
        chunk=chunk,
        threads=threads,
        rounds=rounds,
    )
    publish(lambda: benchmark.bench(scale=chosen), as_json=as_json)


def first_token(
    *,
    device: Annotated[
        Literal["auto", "cpu", "cuda"], typer.Option(help="What computes; auto takes the GPU where there is one.")
    ] = "auto",
    histories: Annotated[
        str, typer.Option(help="Tokens in the cache, growing: multiples of 512, of 128 on a processor.", metavar="N,N…")
    ] = "2048,8192,32768,131072",
    layers: Annotated[int, typer.Option(min=1, help="Of the backbone; 32 are 7B's.")] = 32,
    rounds: Annotated[int, typer.Option(min=1, help="Of each way, by turns; the median counts.")] = 10,
    as_json: AsJson = False,
) -> None:
    """Measure the first token after long histories, on a backbone of 7B's shape with random weights."""
    from memsvc_bench import first_token as benchmark  # noqa: PLC0415
    from memsvc_bench.random_mistral import Shape  # noqa: PLC0415

    chosen = benchmark.Scale(
        shape=Shape(layers=layers), histories=sorted(_numbers(histories, "--histories")), rounds=rounds
    )
    publish(lambda: benchmark.bench(device=device, scale=chosen), as_json=as_json)


def offload(
    *,
    device: Annotated[Literal["auto", "cpu", "cuda"], typer.Option(help="Where memories are stepped.")] = "cpu",
    depths: Annotated[str, typer.Option(help="Layers.", metavar="N,N…")] = "2,8",
    turns: Annotated[str, typer.Option(help="Tokens of a tenant's turn.", metavar="N,N…")] = "64,512,4096",
    threads: Annotated[int, typer.Option(min=1, help="Cores.")] = 2,
    rounds: Annotated[int, typer.Option(min=1, help="Of all tenants, both ways by turns.")] = 3,
    as_json: AsJson = False,
) -> None:
    """Measure what it costs that weights are in host memory and are pulled for every turn of their tenant."""
    from memsvc_bench import offload as benchmark  # noqa: PLC0415

    chosen = benchmark.Scale(
        depths=_numbers(depths, "--depths"), turns=_numbers(turns, "--turns"), threads=threads, rounds=rounds
    )
    publish(lambda: benchmark.bench(device=device, scale=chosen), as_json=as_json)


def guard(
    *,
    turns: Annotated[int, typer.Option(min=1, help="Of each pair; the fastest counts.")] = 30,
    as_json: AsJson = False,
) -> None:
    """Check that no path of ours takes longer, beside the bare work inside it, than it may."""
    from memsvc_bench import guard as benchmark  # noqa: PLC0415

    publish(lambda: benchmark.bench(scale=benchmark.Scale(turns=turns)), as_json=as_json)


def _numbers(value: str, option: str) -> tuple[int, ...]:
    """Read whole numbers above 0 with commas between.

    Raises:
        typer.BadParameter: it has something else.
    """
    parts = [] if value == NONE else [part.strip() for part in value.split(",")]
    if not all(part.isascii() and part.isdigit() and int(part) > 0 for part in parts):
        raise typer.BadParameter("must be numbers with commas between, such as 10,100", param_hint=option)
    return tuple(map(int, parts))
