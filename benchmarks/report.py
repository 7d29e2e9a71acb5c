"""Results as people read them: tables on the terminal, RESULTS.md, and a plot."""

from __future__ import annotations

import json
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.table import Table

from benchmarks.budgets import median_of
from benchmarks.machine import sentence

FOLDER = Path(__file__).resolve().parent
RESULTS = FOLDER / "results"
REPORT = FOLDER / "RESULTS.md"
PEERS_FILE, BUDGETS_FILE = RESULTS / "peers.json", RESULTS / "budgets.json"
PLOT_FILE = RESULTS / "peers.svg"

Results = Mapping[str, Any]

MARKS = {True: "yes", False: "NO", None: ""}


def read(path: Path) -> dict[str, Any] | None:
    """Earlier results, or None."""
    if not path.exists():
        return None
    results: dict[str, Any] = json.loads(path.read_bytes())
    return results


def write(path: Path, results: Results) -> None:
    """Keep results, then write the report anew from all that are there."""
    RESULTS.mkdir(exist_ok=True)
    path.write_text(json.dumps(results, indent=1, ensure_ascii=False) + "\n")
    REPORT.write_text(markdown(read(BUDGETS_FILE), read(PEERS_FILE)))


def budgets_table(results: Results) -> Table:
    """The budgets for the terminal."""
    table = Table("what", "bound", "measured", "kept", title="Budgets")
    for row in results["rows"]:
        colour = {True: "green", False: "red", None: "dim"}[row["kept"]]
        table.add_row(row["what"], row["bound"], row["measured"], f"[{colour}]{MARKS[row['kept']] or '-'}[/]")
    return table


def load_table(title: str, rows: Sequence[Results]) -> Table:
    """Summaries of loads for the terminal."""
    table = Table("load", "per second", "p50 ms", "p90 ms", "p99 ms", "answers", "failures", title=title)
    for row in rows:
        load = f"{row['connections']} clients" if row["loop"] == "closed" else f"{row['offered_per_s']:,.0f}/s offered"
        table.add_row(
            load,
            f"{row['throughput_per_s']:,.0f}",
            *(f"{row[figure]:.2f}" for figure in ("p50_ms", "p90_ms", "p99_ms")),
            ", ".join(f"{status}: {count:,}" for status, count in row["statuses"].items()),
            ", ".join(f"{reason}: {count:,}" for reason, count in row["failures"].items()) or "none",
        )
    return table


def peers_table(results: Results) -> Table:
    """The comparison for the terminal."""
    concurrencies = results["plan"]["concurrencies"]
    table = Table("server", *(f"{c}: req/s (p50 ms)" for c in concurrencies), title="The same model behind each server")
    for server in results["servers"]:
        cells = [
            f"{median_of(results, server, c, 'throughput_per_s'):,.0f} ({median_of(results, server, c, 'p50_ms'):.2f})"
            for c in concurrencies
        ]
        table.add_row(server, *cells)
    for what, name in (("alone", "bare loop, one core"), ("batches", "bare loop, batches of 32")):
        rate = statistics.median(bare[what]["throughput_per_s"] for bare in results["bare"])
        table.add_row(f"[dim]{name}[/]", f"[dim]{rate:,.0f}[/]")
    return table


def plot(results: Results) -> None:
    """Throughput by server and concurrency as grouped bars, the spread over the rounds as lines.

    Raises:
        ImportError: matplotlib is not installed (it comes with the train extra).
    """
    import matplotlib as mpl
    from matplotlib.figure import Figure

    mpl.rcParams["svg.hashsalt"] = "rnnserve"  # the same results draw the same file
    concurrencies = results["plan"]["concurrencies"]
    figure = Figure(figsize=(8, 4), layout="constrained")
    axes = figure.subplots()
    servers = list(results["servers"])
    width = 0.8 / len(servers)
    for position, server in enumerate(servers):
        middles, lows, highs = [], [], []
        for connections in concurrencies:
            values = _values(results, server, connections, "throughput_per_s")
            middle = statistics.median(values)
            middles.append(middle)
            lows.append(middle - min(values))
            highs.append(max(values) - middle)
        places = [group + position * width for group in range(len(concurrencies))]
        axes.bar(places, middles, width, label=server, yerr=[lows, highs], capsize=2)
    axes.set_xticks([group + 0.4 - width / 2 for group in range(len(concurrencies))], [str(c) for c in concurrencies])
    axes.set_xlabel("clients")
    axes.set_ylabel("answers per second")
    axes.legend(frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    RESULTS.mkdir(exist_ok=True)
    figure.savefig(PLOT_FILE, metadata={"Date": None})


def markdown(budgets: Results | None, peers: Results | None) -> str:
    """The whole report."""
    parts = [
        "# Benchmark results",
        "Written by `rnnserve bench` and `rnnserve bench peers` (`make bench-peers`); do not edit. Times on shared machines vary "
        "from run to run: compare within one run, as ratios.",
    ]
    if budgets:
        parts += _budget_parts(budgets)
    if peers:
        parts += _peer_parts(peers)
    return "\n\n".join(parts) + "\n"


def _budget_parts(results: Results) -> list[str]:
    rows = [[row["what"], row["bound"], row["measured"], MARKS[row["kept"]]] for row in results["rows"]]
    overload = results["overload"]
    return [
        "## Budgets",
        f"{sentence(results['machine'])}.",
        _table(["what", "bound", "measured", "kept"], rows),
        f"Overload: texts of {overload['words']} words; the peak of {overload['peak']['throughput_per_s']:,.0f} answers/s is the "
        f"best of closed loops with 4, 16 and 64 clients ({overload['peak']['connections']}). Requests then fall due at random at the stated multiple "
        "of it, and latency runs from when a request was due. The observed wait is how long it took after a refusal until all "
        "that had been accepted before it was answered.",
    ]


def _peer_parts(results: Results) -> list[str]:
    plan, model = results["plan"], results["model"]
    concurrencies = plan["concurrencies"]
    ours = "rnnserve"
    throughput, latency = [], []
    for server, about in results["servers"].items():
        label = f"{server} {about['version']}" if server != ours else server
        throughput.append([label, *(_spread(results, server, c, "throughput_per_s", "{:,.0f}") for c in concurrencies)])
        latency.append(
            [
                label,
                *(
                    f"{median_of(results, server, c, 'p50_ms'):.2f} / {median_of(results, server, c, 'p99_ms'):.2f}"
                    for c in concurrencies
                ),
                f"{max(run['memory_mb'] for run in results['runs'] if run['server'] == server):.0f}",
            ]
        )
    for what, name in (
        ("alone", "bare loop, one core, one text a run"),
        ("batches", "bare loop, one core, 32 texts a run"),
    ):
        rates = [bare[what]["throughput_per_s"] for bare in results["bare"]]
        throughput.append([f"*{name}*", f"*{statistics.median(rates):,.0f}*", *[""] * (len(concurrencies) - 1)])
    throughput.append(
        ["*load generator against a no-op server*", *(f"*{results['ceiling'][str(c)]:,.0f}*" for c in concurrencies)]
    )
    header = ["", *(f"{c} client{'s' if c > 1 else ''}" for c in concurrencies)]
    compared = sum(run["answers_compared"] for run in results["runs"])
    parts = [
        "## The same model behind other servers",
        f"{sentence(results['machine'])}. Server and load generator share the cores.",
        f"Model: {model['cell'].upper()} {model['num_layers']}×{model['hidden_size']}, embedding {model['embedding_dim']}, "
        f"{model['vocab_size']:,} pieces, random weights, int8 with a pinned range; the same graph file, tokeniser and session options everywhere. "
        f"{results['texts']['count']:,} made texts, lengths log-normal with a mean of {results['texts']['mean_words']} words. "
        f"{plan['rounds']} rounds in rotating order, {plan['seconds']:g} s each after {plan['warmup_s']:g} s of warm-up, keep-alive. "
        f"Every answer of every server to every text was compared with the bare loop's before the load, and {compared:,} more "
        "under load: none differed by more than 0.0001.",
        "\n".join(f"- {server} {about['version']}: {about['setting']}" for server, about in results["servers"].items()),
        "Answers per second, median over the rounds (lowest to highest):",
        _table(header, throughput),
        "Latency in ms, p50 / p99, medians over the rounds; resident memory of all the server's processes, MB:",
        _table([*header, "memory"], latency),
    ]
    if ours in results["servers"]:
        parts += ["Wins and losses, as ratios of medians:", _verdicts(results, ours)]
    if PLOT_FILE.exists():
        parts.append(f"![Answers per second by server and clients]({PLOT_FILE.relative_to(FOLDER)})")
    return parts


def _verdicts(results: Results, ours: str) -> str:
    lines = []
    for server in results["servers"]:
        if server == ours:
            continue
        words = []
        for connections in results["plan"]["concurrencies"]:
            ratio = _median(results, ours, connections, "throughput_per_s") / _median(
                results, server, connections, "throughput_per_s"
            )
            words.append(f"{ratio:.2f} × the throughput at {connections}" + ("" if ratio >= 1 else " (a loss)"))
        first = results["plan"]["concurrencies"][0]
        p50 = _median(results, ours, first, "p50_ms") / _median(results, server, first, "p50_ms")
        lines.append(
            f"- against {server}: {', '.join(words)}; p50 at {first}: {p50:.2f} ×" + ("" if p50 <= 1 else " (a loss)")
        )
    return "\n".join(lines)


def _values(results: Results, server: str, connections: int, figure: str) -> list[float]:
    return [run[figure] for run in results["runs"] if run["server"] == server and run["connections"] == connections]


def _median(results: Results, server: str, connections: int, figure: str) -> float:
    return statistics.median(_values(results, server, connections, figure))


def _spread(results: Results, server: str, connections: int, figure: str, form: str) -> str:
    values = _values(results, server, connections, figure)
    middle = form.format(statistics.median(values))
    return middle if len(values) == 1 else f"{middle} ({form.format(min(values))} to {form.format(max(values))})"


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = ["| " + " | ".join(header) + " |", "|" + "--|" * len(header)]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows])
