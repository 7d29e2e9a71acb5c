"""RNN, LSTM and GRU side by side: runs the tasks of ``models/cell_tasks.py`` over cells, lengths and seeds, in bounded time.

It stands in ``export/`` because it also measures each cell's step in ONNX Runtime.
"""

from __future__ import annotations

import multiprocessing
import os
import platform
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from pathlib import Path
from typing import Literal

import numpy as np
import onnxruntime
import torch
from pydantic import BaseModel, ValidationError
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from safetensors.torch import save_file
from tokenizers import Tokenizer

from export.graph import build_graph, save_graph
from export.parity import open_graph
from models import cell_tasks
from models.cell_tasks import LabelledText, Outcome, RunningText
from models.checkpoint import WEIGHTS_FILE, CheckpointConfig, write_json
from models.classifier import ClassifierConfig, Pools
from models.corpora import labelled, running_text
from models.data import IdArray, encode
from models.tokenizer import END_ID, train_tokenizer
from models.trunk import Cell, TrunkConfig

CELLS: tuple[Cell, ...] = ("rnn", "lstm", "gru")
STEP_COST: dict[Cell, float] = {"rnn": 1.0, "lstm": 1.3, "gru": 3.0}  # seconds of a training step, relative
Task = Literal["adding", "copying", "language-model", "sentiment"]

GOOD = (
    "good",
    "great",
    "wonderful",
    "excellent",
    "brilliant",
    "charming",
    "funny",
    "beautiful",
    "moving",
    "fascinating",
)
BAD = ("bad", "terrible", "awful", "boring", "stupid", "dull", "tedious", "ugly", "pointless", "annoying")
CLAUSES = ("this film is {}.", "a {} movie.", "the story was {}.", "it is {} from the first minute.")
FILLER = "we saw it on a monday evening in the small cinema by the station, and after that we took the bus home. "
TRACE = "the acting is good, but the story is dull and far too long"


class CompareError(Exception):
    """A comparison cannot begin or go on; the message says why."""


class Variant(BaseModel, frozen=True):
    """A cell with a size; ``rnn-wide`` is a plain RNN with as many weights as the LSTM beside it."""

    name: str
    cell: Cell
    hidden_size: int
    pools: Pools = ("last",)


class Settings(BaseModel, frozen=True, extra="forbid"):
    """What is compared. The defaults take 20 minutes on two cores."""

    seeds: int = 3
    memory_size: int = 64
    adding_lengths: tuple[int, ...] = (25, 50, 100, 200, 400)
    adding_steps: int = 1500
    copy_delays: tuple[int, ...] = (5, 10, 25, 50, 100)
    copy_steps: int = 3000
    embedding_dim: int = 64
    hidden_size: int = 128
    vocab_size: int = 4000
    sentiment_epochs: int = 3
    sentiment_texts: int | None = None
    filler_lengths: tuple[int, ...] = (0, 5, 10, 20, 40, 80, 160)
    language_model_epochs: int = 2
    language_model_lines: int = 90_000
    valid_tokens: int = 40_000
    distances: int = 200
    speed_size: int = 256
    speed_embedding: int = 128
    speed_vocabulary: int = 12_000
    speed_seconds: float = 3.0
    speed_rounds: int = 3

    @property
    def text_variants(self) -> tuple[Variant, ...]:
        """What the tasks over text compare: equal width, and for the plain RNN equal weights as well."""
        e, h = self.embedding_dim, self.hidden_size
        lstm_weights = 4 * h * (e + h + 2)
        wide = round((-(e + 2) + ((e + 2) ** 2 + 4 * lstm_weights) ** 0.5) / 2)  # of w * (e + w + 2) = lstm_weights
        sizes = {"rnn": h, "rnn-wide": wide, "lstm": h, "gru": h}
        return tuple(Variant(name=name, cell=_cell_of(name), hidden_size=size) for name, size in sizes.items())

    @property
    def sentiment_variants(self) -> tuple[Variant, ...]:
        """Those, and a GRU with the pools that the shipped classifiers have."""
        pooled = Variant(name="gru-pools", cell="gru", hidden_size=self.hidden_size, pools=("last", "boltzmann"))
        return (*self.text_variants, pooled)


class Job(BaseModel, frozen=True):
    """One training: a task at a length, with a variant and a seed."""

    task: Task
    variant: Variant
    length: int
    seed: int

    @property
    def cost(self) -> float:
        """Time it takes, relative to other jobs: what it gets of the time there is."""
        if self.task == "language-model":
            return 350.0
        if self.task == "sentiment":
            return 200.0
        return STEP_COST[self.variant.cell] * (self.length + 10)


class Result(BaseModel, frozen=True):
    """What a job gave."""

    job: Job
    outcome: Outcome


class Speed(BaseModel, frozen=True):
    """How fast a small classifier is, one thread: the median of the rounds."""

    cell: Cell
    weights: int
    training_tokens_per_s: float
    step_us: float  # one token at a time, ONNX Runtime, batch 1
    text_us: float  # per token of a whole text of 32, the same


class Comparison(BaseModel):
    """Everything that was measured; ``docs/cells.json``."""

    settings: Settings
    machine: str
    versions: dict[str, str]
    trace_pieces: list[str]
    speed: list[Speed]
    results: list[Result]
    minutes: float
    max_minutes: float
    workers: int


def _cell_of(name: str) -> Cell:
    return next(cell for cell in CELLS if name.startswith(cell))


def plan(settings: Settings) -> list[Job]:
    """All jobs, seed after seed, so that a comparison cut short has fewer seeds rather than fewer tasks."""
    memory = [Variant(name=cell, cell=cell, hidden_size=settings.memory_size) for cell in CELLS]
    by_length: list[tuple[Task, tuple[int, ...]]] = [
        ("adding", settings.adding_lengths),
        ("copying", settings.copy_delays),
    ]
    jobs: list[Job] = []
    for seed in range(settings.seeds):
        jobs += [Job(task="language-model", variant=v, length=0, seed=seed) for v in settings.text_variants]
        jobs += [Job(task="sentiment", variant=v, length=0, seed=seed) for v in settings.sentiment_variants]
        jobs += [
            Job(task=task, variant=variant, length=length, seed=seed)
            for task, lengths in by_length
            for length in sorted(lengths, reverse=True)
            for variant in memory
        ]
    return jobs


# -- inputs ------------------------------------------------------------------------------------------------------------


class Inputs(BaseModel, frozen=True, arbitrary_types_allowed=True):
    """The texts of a comparison, encoded once and given to every worker."""

    labelled: LabelledText
    running: RunningText
    trace_pieces: list[str]


def read_inputs(data: Path, settings: Settings) -> Inputs:
    """SST-2 phrases and dev; Tatoeba and self_dialogue, whose last lines are kept for measuring; one tokenizer each."""
    train, dev = labelled(data, "sst2", "train"), labelled(data, "sst2", "dev")
    order = np.random.default_rng(0).permutation(len(train)).tolist()
    chosen = [train[i] for i in order[: settings.sentiment_texts]]
    texts = [example.text for example in chosen]
    pieces = train_tokenizer("en", texts, settings.vocab_size, lowercase=True, specials=False)
    clauses = [
        (clause.format(word), label) for label, words in ((0, BAD), (1, GOOD)) for word in words for clause in CLAUSES
    ]
    lines = [
        line
        for name in ("tatoeba_en", "self_dialogue")
        for text in running_text(data, name)[0]
        for line in text.split("\n")
    ]
    drawn = np.random.default_rng(0).permutation(len(lines))[: settings.language_model_lines].tolist()
    lines = [lines[i] for i in drawn]
    words = train_tokenizer("en", lines, settings.vocab_size, lowercase=True, specials=True)
    encoded = [np.append(ids, np.int32(END_ID)) for ids in encode(words, lines)]
    held = int(np.searchsorted(np.cumsum([len(ids) for ids in encoded]), settings.valid_tokens)) + 1
    trace = pieces.encode(TRACE)
    return Inputs(
        labelled=LabelledText(
            train=encode(pieces, texts),
            train_labels=[example.label for example in chosen],
            dev=encode(pieces, [example.text for example in dev]),
            dev_labels=[example.label for example in dev],
            clauses=encode(pieces, [clause for clause, _ in clauses]),
            clause_labels=[label for _, label in clauses],
            filler=_one(pieces, FILLER),
            trace=np.array(trace.ids, np.int32),
        ),
        running=RunningText(
            train=np.concatenate(encoded[held:]),
            valid=np.concatenate(encoded[:held]),
            valid_words=sum(len(line.split()) + 1 for line in lines[:held]),  # the end of a line is predicted too
            vocab_size=words.get_vocab_size(),
        ),
        trace_pieces=[TRACE[start:end].strip() for start, end in trace.offsets],
    )


def _one(tokenizer: Tokenizer, text: str) -> IdArray:
    return encode(tokenizer, [text])[0]


# -- jobs --------------------------------------------------------------------------------------------------------------

_inputs: Inputs | None = None  # of a worker process


def _start_worker(inputs: Inputs) -> None:
    global _inputs  # noqa: PLW0603 - a process pool gives its workers their data this way
    _inputs = inputs
    torch.set_num_threads(1)


def _run_in_worker(job: Job, settings: Settings, limit_s: float) -> Outcome:
    if _inputs is None:
        raise RuntimeError("a worker has not been given its texts")
    return run_job(job, settings, _inputs, limit_s)


def run_job(job: Job, settings: Settings, inputs: Inputs, limit_s: float) -> Outcome:
    """One training, in the time given."""
    variant = job.variant
    if job.task == "adding":
        return cell_tasks.adding(
            variant.cell, variant.hidden_size, job.length, job.seed, settings.adding_steps, limit_s
        )
    if job.task == "copying":
        return cell_tasks.copying(variant.cell, variant.hidden_size, job.length, job.seed, settings.copy_steps, limit_s)
    if job.task == "language-model":
        trunk = _trunk(variant, settings, inputs.running.vocab_size)
        return cell_tasks.language_model(
            trunk, inputs.running, job.seed, settings.language_model_epochs, limit_s, settings.distances
        )
    trunk = _trunk(variant, settings, settings.vocab_size)
    return cell_tasks.sentiment(
        trunk, variant.pools, inputs.labelled, job.seed, settings.sentiment_epochs, limit_s, settings.filler_lengths
    )


def _trunk(variant: Variant, settings: Settings, vocab_size: int) -> TrunkConfig:
    return TrunkConfig(
        cell=variant.cell,
        vocab_size=vocab_size,
        embedding_dim=settings.embedding_dim,
        hidden_size=variant.hidden_size,
    )


# -- speed -------------------------------------------------------------------------------------------------------------


def measure_speed(settings: Settings) -> list[Speed]:
    """All cells in turn, round after round, so that a disturbance hits none alone; medians."""
    torch.set_num_threads(1)
    rates: dict[Cell, list[tuple[float, float, float]]] = {cell: [] for cell in CELLS}
    weights: dict[Cell, int] = {}
    with tempfile.TemporaryDirectory(prefix="rnnserve-cells-") as folder:
        for _ in range(settings.speed_rounds):
            for cell in CELLS:
                config = _speed_config(cell, settings)
                rate = cell_tasks.training_rate(config.architecture.trunk, settings.speed_seconds)
                weights[cell], step_us, text_us = _graph_times(config, Path(folder), settings)
                rates[cell].append((rate, step_us, text_us))
    medians = {cell: np.median(np.array(values), axis=0).tolist() for cell, values in rates.items()}
    return [
        Speed(cell=cell, weights=weights[cell], training_tokens_per_s=rate, step_us=step, text_us=text)
        for cell, (rate, step, text) in medians.items()
    ]


def _speed_config(cell: Cell, settings: Settings) -> CheckpointConfig:
    trunk = TrunkConfig(
        cell=cell,
        vocab_size=settings.speed_vocabulary,
        embedding_dim=settings.speed_embedding,
        hidden_size=settings.speed_size,
    )
    return CheckpointConfig(name=cell, task="sentiment", language="en", classifier=ClassifierConfig(trunk=trunk))


def _graph_times(config: CheckpointConfig, folder: Path, settings: Settings) -> tuple[int, float, float]:
    """Weights, microseconds of one token alone, and per token of a text of 32."""
    module = config.build()
    weights = {name: value.half().contiguous() for name, value in module.state_dict().items()}
    save_file(weights, folder / WEIGHTS_FILE)
    save_graph(build_graph(config, folder / WEIGHTS_FILE), folder / "model.onnx")
    run = open_graph(folder / "model.onnx")
    state = np.zeros((1, config.architecture.state_size), np.float32)
    times = []
    for length in (1, 32):
        ids, lengths = np.ones((1, length), np.int64), np.array([length])
        runs, began, ends = 0, time.perf_counter(), time.perf_counter() + settings.speed_seconds / 3
        while time.perf_counter() < ends:
            state = run(ids, lengths, state, 1)[0] * 0
            runs += 1
        times.append((time.perf_counter() - began) / runs / length * 1e6)
    return sum(p.numel() for p in module.parameters()), times[0], times[1]


# -- the comparison ----------------------------------------------------------------------------------------------------


def compare_cells(
    data: Path, out: Path, settings: Settings, max_minutes: float, workers: int, console: Console
) -> Comparison:
    """Run every job in the time there is, and note each result in ``out`` at once.

    What ``out`` already holds for the same settings is not run again, so a killed comparison goes on.

    Args:
        data: the corpora folder.
        out: the JSON file.
        settings: what to compare.
        max_minutes: of the whole; each job gets its share of what is left, and ends with what it has learned by then.
        workers: processes, one thread each.
        console: for progress.

    Raises:
        CompareError: ``out`` holds something else.
        CorpusError: a corpus is missing or damaged.
    """
    began = time.monotonic()
    before = _read(out, settings)
    console.print("reading texts", highlight=False)
    inputs = read_inputs(data, settings)
    if before is None:
        console.print("measuring speed", highlight=False)
    comparison = before or Comparison(
        settings=settings,
        machine=f"{_processor()}, {workers} of {os.cpu_count()} cores",
        versions={
            "python": platform.python_version(),
            "torch": torch.__version__,
            "onnxruntime": onnxruntime.__version__,
        },
        trace_pieces=inputs.trace_pieces,
        speed=measure_speed(settings),
        results=[],
        minutes=0.0,
        max_minutes=max_minutes,
        workers=workers,
    )
    earlier = comparison.minutes
    done = {result.job for result in comparison.results}
    waiting = [job for job in plan(settings) if job not in done]
    deadline = began + (max_minutes - earlier) * 60
    columns = (
        TextColumn("{task.fields[line]}"),
        BarColumn(),
        TextColumn("{task.completed:.0f} of {task.total:.0f}"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task("jobs", total=len(waiting), line="")
        for result in _run_all(waiting, settings, inputs, deadline, workers):
            comparison.results.append(result)
            comparison.minutes = earlier + (time.monotonic() - began) / 60
            write_json(out, rounded(comparison.model_dump(mode="json")))
            bar.update(task, advance=1, line=_line(result))
            if not console.is_terminal:
                console.print(_line(result), highlight=False)
    return comparison


def _run_all(waiting: list[Job], settings: Settings, inputs: Inputs, deadline: float, workers: int) -> Iterator[Result]:
    """Results as they come; a job starts when a worker is free and gets its share of the time left."""
    context = multiprocessing.get_context("spawn")  # forked threads of torch would hang
    with ProcessPoolExecutor(workers, context, initializer=_start_worker, initargs=(inputs,)) as pool:
        running: dict[Future[Outcome], Job] = {}
        rest = sum(job.cost for job in waiting)
        for job in [*waiting, None]:
            while running and (job is None or len(running) == workers):
                finished, _ = wait(running, return_when=FIRST_COMPLETED)
                for future in finished:
                    yield Result(job=running.pop(future), outcome=future.result())
            if job is not None:
                left_s = deadline - time.monotonic()
                if left_s > 0:
                    limit_s = left_s * min(1.0, workers * job.cost / rest)
                    running[pool.submit(_run_in_worker, job, settings, limit_s)] = job
                rest -= job.cost


def _read(out: Path, settings: Settings) -> Comparison | None:
    if not out.is_file():
        return None
    try:
        before = Comparison.model_validate_json(out.read_bytes())
    except ValidationError as error:
        raise CompareError(f"{out}: no comparison of cells; give another --out") from error
    if before.settings != settings:
        raise CompareError(f"{out}: a comparison with other settings; delete it or give another --out")
    return before


def _line(result: Result) -> str:
    job, outcome = result.job, result.outcome
    at = f" at {job.length}" if job.length else ""
    numbers = ", ".join(f"{name} {value:.4g}" for name, value in outcome.numbers.items())
    return (
        f"{job.task}{at} {job.variant.name} seed {job.seed}: {numbers} ({outcome.steps} steps, {outcome.seconds:.0f} s)"
    )


def rounded(document: object) -> object:
    """The same JSON document with floats of five significant digits."""
    if isinstance(document, float):
        return float(f"{document:.5g}")
    if isinstance(document, dict):
        return {key: rounded(value) for key, value in document.items()}
    if isinstance(document, list):
        return [rounded(value) for value in document]
    return document


def _processor() -> str:
    """The processor's name as the system gives it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())
