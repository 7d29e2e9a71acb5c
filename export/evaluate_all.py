"""``rnnserve evaluate --all``: every measure of many bundles, in parallel processes, on the same rows in the same run."""

from __future__ import annotations

import multiprocessing
import os
import statistics
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any, Literal

from rich.console import Console

from export.bundle import export_bundle
from export.evaluate import LARGE, ROWS_OF_LARGE, Evaluation, Report, describe
from export.parity import ParityError
from export.scoring import OpenBundle, microseconds_per_token
from service.bundle import Precision, load_manifest

SPEED_ROUNDS = 3  # of all bundles by turns, so that a change of the machine's mood meets all of them
THREAD_LIMIT = "OMP_NUM_THREADS"

Part = Literal["sentiment", "comparison", "language-model", "further"]
# Roughly how long a job takes, so that the longest start first: seconds, or seconds for each microsecond a token.
SECONDS = {"comparison": 80.0, "language-model": 150.0}
SECONDS_PER_MICROSECOND = {("sentiment", "en"): 4.0, ("sentiment", "zh"): 0.4, ("language-model", "en"): 0.5, ("language-model", "zh"): 0.5}  # fmt: skip


@dataclass(frozen=True)
class Job:
    """Some measures of one bundle, done by one process."""

    index: int  # of the report that they belong to
    folder: Path
    part: Part
    data: Path
    limit: int | None
    seconds: float  # roughly


def evaluate_all(
    shipped: Sequence[Path], also: Sequence[Path], data: Path, limit: int | None, workers: int, console: Console
) -> list[Report]:
    """Measure bundles: those that ship in every way, the others beside them.

    Every LSTM that ships is also measured in the precision that it does not ship in.

    Args:
        shipped: folders of bundles.
        also: other sizes and seeds; a copy of one that ships is passed over.
        data: the corpora folder.
        limit: at most so many rows of each set; of a language model, so many words asked for.
        workers: processes, one core each. Times of one token are taken before, with nothing beside them.
        console: where progress is told.

    Returns:
        The reports of ``shipped``, then the others.

    Raises:
        BundleError: a bundle can't be opened.
        CorpusError: a corpus can't be read.
        MissingPackageError: a package of the extra ``compare`` is not installed.
    """
    with TemporaryDirectory() as scratch:
        known = [_contents(folder) for folder in shipped]
        others = [folder for folder in also if _contents(folder) not in known]
        folders = [*shipped, *others, *_other_precisions(shipped, Path(scratch), console)]
        speeds = _speeds(folders)
        reports = []
        jobs: list[Job] = []
        for i, folder in enumerate(folders):
            further = i >= len(shipped)
            report = describe(folder, load_manifest(folder), further=further)
            cut = ROWS_OF_LARGE if further and report.parameters > LARGE and report.task == "sentiment" else None
            reports.append(report.model_copy(update={"microseconds_per_token": speeds[i], "rows_cut": cut}))
            parts: tuple[Part, ...] = ("further",) if further else _parts(report)
            most = min((n for n in (limit, cut) if n is not None), default=None)
            per_microsecond = SECONDS_PER_MICROSECOND[report.task, report.language]
            jobs += [Job(i, folder, part, data, most, SECONDS.get(part, per_microsecond * speeds[i])) for part in parts]
        console.print(f"{len(folders)} bundles, {len(jobs)} jobs for {workers} processes", highlight=False)
        for job, measured in _run(jobs, workers, console):
            reports[job.index] = reports[job.index].model_copy(update=measured)
    return reports


def _contents(folder: Path) -> dict[str, str]:
    return load_manifest(folder).files


def _parts(report: Report) -> tuple[Part, ...]:
    return ("language-model",) if report.task == "language-model" else ("sentiment", "comparison")


def _other_precisions(shipped: Sequence[Path], scratch: Path, console: Console) -> Iterator[Path]:
    """Bundles of the same weights in the precision that does not ship, where there is one."""
    for folder in shipped:
        manifest = load_manifest(folder)
        if manifest.cell != "lstm":
            continue
        precision: Precision = "int8" if manifest.precision == "float32" else "float32"
        out = scratch / f"{manifest.name}-{precision}"
        console.print(f"{manifest.id}: exporting it in {precision}, to compare", highlight=False)
        try:
            export_bundle(folder, out, manifest.version, precision=precision)
        except ParityError as error:
            console.print(f"{manifest.id}: {precision} is left out: {error}", highlight=False, markup=False)
            continue
        yield out


def _speeds(folders: Sequence[Path]) -> list[float]:
    """Microseconds a token of each bundle, one after the other."""
    engines = [OpenBundle.open(folder).engine for folder in folders]
    rounds = [[microseconds_per_token(engine) for engine in engines] for _ in range(SPEED_ROUNDS)]
    return [statistics.median(times) for times in zip(*rounds, strict=True)]


def _run(jobs: Sequence[Job], workers: int, console: Console) -> Iterator[tuple[Job, dict[str, Any]]]:
    """Results as they come, the longest jobs started first."""
    ordered = sorted(jobs, key=lambda job: -job.seconds)
    began = perf_counter()
    context = multiprocessing.get_context("spawn")  # forked threads of ONNX Runtime would hang
    with _one_thread_each(), ProcessPoolExecutor(workers, context) as pool:
        running = {pool.submit(measure, job): job for job in ordered}
        try:
            for done, future in enumerate(as_completed(running), start=1):
                job = running[future]
                yield job, future.result()
                console.print(
                    f"[{done}/{len(jobs)}, {perf_counter() - began:.0f} s] {job.folder.name}: {job.part}",
                    highlight=False,
                    markup=False,
                )
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


@contextmanager
def _one_thread_each() -> Iterator[None]:
    """Processes started within use one core each, also in libraries that would take all."""
    before = os.environ.get(THREAD_LIMIT)
    os.environ[THREAD_LIMIT] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ[THREAD_LIMIT]
        else:
            os.environ[THREAD_LIMIT] = before


def measure(job: Job) -> dict[str, Any]:
    """Do a job; fields of the bundle's report."""
    evaluation = Evaluation(job.data, limit=job.limit, console=Console(stderr=True, force_terminal=False))
    bundle = OpenBundle.open(job.folder)
    match job.part:
        case "sentiment":
            return {
                "sentiment": evaluation.sentiment(bundle, curves=True),
                "behaviour": evaluation.behaviour(bundle),
                "dev": evaluation.dev_accuracy(bundle),
            }
        case "comparison":
            return {"comparison": evaluation.comparison(bundle)}
        case "language-model":
            return {"language_model": evaluation.language_model(bundle)}
        case "further" if bundle.manifest.task == "language-model":
            return {"perplexities": evaluation.perplexities(bundle)}
        case "further":
            return {"sentiment": evaluation.sentiment(bundle), "dev": evaluation.dev_accuracy(bundle)}
