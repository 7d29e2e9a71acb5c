"""``rnnserve bench``: measure the service on this machine and write benchmarks/RESULTS.md."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from benchmarks import budgets, compare, report
from benchmarks.bench_model import bench_bundle
from benchmarks.load import closed_loop, encode_call, open_loop
from benchmarks.runner import run
from benchmarks.servers import NOOP, PEER_SERVERS, RNNSERVE, ServerFailedError, running
from benchmarks.texts import english_texts

bench = typer.Typer(help="Measure the service: budgets, other servers under the same load, one load.")
app = typer.Typer()
app.add_typer(bench, name="bench")
console = Console()

Seconds = Annotated[float, typer.Option(min=0.2, max=120, help="Measured time of each load.")]
Warmup = Annotated[float, typer.Option(min=0, max=60, help="Time before it that is not counted.")]
Workers = Annotated[int, typer.Option(min=1, max=64, help="Server processes.")]
Bundles = Annotated[Path, typer.Option(help="The folder of shipped bundles.")]

DEFAULT_BUNDLES = Path(__file__).resolve().parent.parent / "bundles"


@bench.callback(invoke_without_command=True)
def measure_budgets(
    context: typer.Context,
    seconds: Seconds = 5.0,
    warmup_s: Warmup = 1.0,
    workers: Workers = 2,
    bundles: Bundles = DEFAULT_BUNDLES,
    mixed_requests: Annotated[
        int, typer.Option(min=10, help="Requests before memory is read.")
    ] = budgets.MIXED_REQUESTS,
) -> None:
    """Print the budgets with what was measured beside each bound."""
    if context.invoked_subcommand is not None:
        return
    plan = budgets.Plan(bundles, _made_bundle(), seconds, warmup_s, workers, mixed_requests)
    with _failures_in_words(), _progress("Budgets", plan.steps) as on_step:
        results = budgets.measure(plan, report.read(report.PEERS_FILE), on_step)
    report.write(report.BUDGETS_FILE, results)
    console.print(report.budgets_table(results))
    console.print(f"Written to {_shown(report.REPORT)}.")


@bench.command()
def peers(
    seconds: Seconds = 5.0,
    warmup_s: Warmup = 1.0,
    rounds: Annotated[int, typer.Option(min=1, max=20, help="Times that every server has its turn.")] = 3,
    workers: Workers = 2,
    clients: Annotated[
        list[int] | None, typer.Option(min=1, max=1024, help="Concurrency; give it several times.")
    ] = None,
    only: Annotated[list[str] | None, typer.Option(help="Servers to compare; give it several times.")] = None,
) -> None:
    """Compare with FastAPI, LitServe, mosec and MLServer under the same load (environments: make bench-peers)."""
    known = {each.name.lower(): each for each in (RNNSERVE, *PEER_SERVERS)}
    unknown = [name for name in only or [] if name.lower() not in known]
    if unknown:
        raise typer.BadParameter(
            f"unknown server {unknown[0]}; known: {', '.join(each.name for each in known.values())}"
        )
    chosen = [known[name.lower()] for name in only or known]
    missing = [each.name for each in chosen if not each.installed]
    if missing:
        console.print(
            f"[red]No environment for {', '.join(missing)}[/]: run `make bench-peers`, or choose others with --only."
        )
        raise typer.Exit(2)
    plan = compare.Plan(
        _made_bundle(),
        seconds,
        warmup_s,
        rounds,
        tuple(clients or (1, 16, 64)),
        workers,
        tuple(each.name for each in chosen),
    )
    with _failures_in_words(), _progress("Comparison", plan.steps) as on_step:
        results = compare.compare(plan, on_step)
    try:
        report.plot(results)
    except ImportError:
        console.print("[yellow]No plot: matplotlib is not installed (it comes with rnnserve\\[train]).[/]")
    report.write(report.PEERS_FILE, results)
    console.print(report.peers_table(results))
    console.print(f"Written to {_shown(report.REPORT)}.")


@bench.command()
def load(
    port: Annotated[int, typer.Option(min=1, max=65535, help="Of a service that runs on this machine.")] = 8000,
    clients: Annotated[
        int, typer.Option(min=1, max=1024, help="Closed loop: so many clients; open loop: most connections.")
    ] = 16,
    rate: Annotated[
        float | None, typer.Option(min=0.1, max=100_000, help="Open loop at so many requests per second.")
    ] = None,
    seconds: Seconds = 5.0,
    warmup_s: Warmup = 0.5,
    model: Annotated[str | None, typer.Option(help="The sentiment model to ask; default by language.")] = None,
) -> None:
    """Put one load of sentiment requests on a running service."""
    calls = [
        encode_call(RNNSERVE.path, {"text": text} | ({"model": model} if model else {}))
        for text in english_texts(1000, 1)
    ]
    generator = (
        closed_loop(port, calls, clients, duration_s=seconds, warmup_s=warmup_s)
        if rate is None
        else open_loop(port, calls, rate, duration_s=seconds, warmup_s=warmup_s, connections=clients)
    )
    try:
        result = run(generator)
    except (OSError, TimeoutError) as error:
        console.print(f"[red]Nothing answers on port {port}[/]: start the service first (rnnserve serve).")
        raise typer.Exit(1) from error
    console.print(report.load_table(f"POST {RNNSERVE.path}", [result.summary()]))


@bench.command()
def ceiling(seconds: Seconds = 2.0) -> None:
    """Show what the load generator itself can do, against a server that answers fixed bytes."""
    calls = [NOOP.call(text) for text in english_texts(1000, 1)]
    with _failures_in_words(), running(NOOP, Path(), 1) as server:
        rows = [
            run(closed_loop(server.port, calls, clients, duration_s=seconds, warmup_s=0.2)).summary()
            for clients in (1, 16, 64)
        ]
    console.print(report.load_table("Load generator against a no-op server", rows))


def _made_bundle() -> Path:
    with _failures_in_words(), console.status("Making the benchmark's model (once) ..."):
        return bench_bundle()


def _shown(path: Path) -> str:
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)


@contextmanager
def _failures_in_words() -> Iterator[None]:
    try:
        yield
    except ServerFailedError as error:
        console.print(f"[red]{error}[/]")
        raise typer.Exit(1) from error


@contextmanager
def _progress(title: str, steps: int) -> Iterator[Callable[[str], None]]:
    """A bar that moves on whenever the yielded function is told what comes next."""
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console, transient=True, refresh_per_second=2) as progress:
        task = progress.add_task(title, total=steps)
        told = 0

        def on_step(what: str) -> None:
            nonlocal told
            progress.update(task, completed=told, description=f"{title}: {what}", total=max(steps, told + 1))
            told += 1

        yield on_step
