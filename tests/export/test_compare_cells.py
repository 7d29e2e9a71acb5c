"""Tests of export/compare_cells.py and export/cells_report.py."""

from __future__ import annotations

from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console
from typer.testing import CliRunner

from export.cells_report import lost_at, spread, was_cut, write_report
from export.compare_cells import (
    CompareError,
    Comparison,
    Job,
    Result,
    Settings,
    Variant,
    compare_cells,
    plan,
    rounded,
)
from models.cell_tasks import Outcome
from models.trunk import LAYERS
from rnnserve import build
from tests.models.conftest import make_corpora

TINY = Settings(
    seeds=1,
    memory_size=4,
    adding_lengths=(3, 4),
    adding_steps=2,
    copy_delays=(1,),
    copy_steps=2,
    embedding_dim=4,
    hidden_size=5,
    vocab_size=420,
    sentiment_epochs=1,
    filler_lengths=(0, 2),
    language_model_epochs=1,
    language_model_lines=90,
    valid_tokens=100,
    distances=5,
    speed_size=4,
    speed_embedding=4,
    speed_vocabulary=50,
    speed_seconds=0.02,
    speed_rounds=1,
)


def test_a_comparison_runs_every_job_notes_it_and_is_not_run_twice(tmp_path: Path) -> None:
    """All tasks, cells and lengths; a second call finds everything done; the page and its plots are there."""
    corpora, out, console = (
        make_corpora(tmp_path / "corpora"),
        tmp_path / "docs" / "cells.json",
        Console(file=StringIO()),
    )
    out.parent.mkdir()

    comparison = compare_cells(corpora, out, TINY, max_minutes=5, workers=1, console=console)
    again = compare_cells(corpora, out, TINY, max_minutes=5, workers=1, console=console)
    write_report(again, out.with_suffix(".md"))

    assert {result.job for result in comparison.results} == set(plan(TINY))
    assert len(again.results) == len(comparison.results)
    page = out.with_suffix(".md").read_text()
    assert f"{len(plan(TINY))} of {len(plan(TINY))} runs" in page
    assert "not run" not in page.lower()
    plots = {path.name for path in (out.parent / "cells").iterdir()}
    assert plots == {"trace.png", "gradients.png", "adding.png", "copying.png", "filler.png"}
    assert all(f"cells/{name}" in page for name in plots)


def test_a_plan_goes_seed_by_seed() -> None:
    """A comparison cut short has fewer seeds, not fewer tasks."""
    seeds = [job.seed for job in plan(Settings())]

    assert seeds == sorted(seeds)
    assert {job.task for job in plan(Settings()) if job.seed == 0} == {
        "adding",
        "copying",
        "language-model",
        "sentiment",
    }


def test_the_wide_rnn_has_as_many_weights_as_the_lstm() -> None:
    """Within a hundredth: what the gates bring is not mistaken for what weights bring."""
    settings = Settings()
    weights = {
        variant.name: sum(
            p.numel() for p in LAYERS[variant.cell](settings.embedding_dim, variant.hidden_size).parameters()
        )
        for variant in settings.text_variants
    }

    assert weights["rnn-wide"] == pytest.approx(weights["lstm"], rel=0.01)
    assert weights["rnn"] < weights["gru"] < weights["lstm"]


def comparison_of(results: list[Result], settings: Settings = TINY) -> Comparison:
    versions = {"torch": "2", "onnxruntime": "1", "python": "3"}
    return Comparison(
        settings=settings,
        machine="a machine",
        versions=versions,
        trace_pieces=["good"],
        speed=[],
        results=results,
        minutes=1.0,
        max_minutes=2.0,
        workers=1,
    )


def memory_result(task: str, steps: int, numbers: dict[str, float]) -> Result:
    variant = Variant(name="rnn", cell="rnn", hidden_size=4)
    job = Job.model_validate({"task": task, "variant": variant, "length": 3, "seed": 0})
    return Result(job=job, outcome=Outcome(steps=steps, seconds=1.0, numbers=numbers))


def test_what_was_not_run_is_said(tmp_path: Path) -> None:
    """A comparison with no time left still makes a page, and claims nothing."""
    write_report(comparison_of([memory_result("adding", 2, {"error": 0.2, "solved": 0.0})]), tmp_path / "cells.md")
    page = (tmp_path / "cells.md").read_text()

    assert "| 3 | 0 of 1 (0.2000) | not run | not run |" in page
    assert "Not run." in page


def test_a_run_that_the_clock_ended_is_named(tmp_path: Path) -> None:
    """Fewer steps than planned and no solution: the reader must know."""
    results = [
        memory_result("adding", 1, {"error": 0.2, "solved": 0.0}),
        memory_result("adding", 1, {"error": 0.001, "solved": 1.0}),
        memory_result("copying", 2, {"accuracy": 0.5}),
    ]
    comparison = comparison_of(results)
    write_report(comparison, tmp_path / "cells.md")

    assert [was_cut(comparison, result) for result in results] == [True, False, False]
    assert (
        "1 runs of the two memory tasks were ended by the clock before their last step: RNN at 3 (adding)."
        in (tmp_path / "cells.md").read_text()
    )


@pytest.mark.parametrize(
    ("curve", "expected"),
    [([1, 0.1, 1e-4, 1e-5], 2), ([1, 1e-4, 0.1, 1e-5], 3), ([1, 0.5, 0.4], None), ([1e-9, 1e-9], 0)],
)
def test_a_gradient_is_lost_where_it_stays_small(curve: list[float], expected: int | None) -> None:
    """A dip is not the end; beyond the measured distances nothing is claimed."""
    assert lost_at(curve) == expected


def test_numbers_are_written_with_their_spread() -> None:
    """Mean ± standard deviation; one seed has none; no seed is no number."""
    assert spread([1.0, 2.0, 3.0], 1) == "2.0 ± 1.0"
    assert spread([1234.56], 1) == "1,234.6"
    assert spread([], 1) == "not run"


def test_stored_numbers_have_five_digits() -> None:
    """The file stays small; a run says no more than that."""
    assert rounded({"a": [0.123456789, 3], "b": "x"}) == {"a": [0.12346, 3], "b": "x"}


@pytest.mark.parametrize(("content", "message"), [("{}", "no comparison of cells"), (None, "with other settings")])
def test_another_file_is_not_overwritten(tmp_path: Path, content: str | None, message: str) -> None:
    """Minutes of work, or something else altogether."""
    out = tmp_path / "cells.json"
    out.write_text(content if content is not None else comparison_of([], Settings()).model_dump_json())

    with pytest.raises(CompareError, match=message):
        compare_cells(tmp_path, out, TINY, 1, 1, Console(file=StringIO()))


def test_missing_corpora_end_the_command(tmp_path: Path) -> None:
    """Exit code 2 and the file's name."""
    command = ["compare-cells", "--data", str(tmp_path), "--out", str(tmp_path / "cells.md")]
    result = CliRunner().invoke(build(), command)

    assert result.exit_code == 2
    assert "train_phrases.jsonl.gz" in "".join(result.output.split("\n"))
