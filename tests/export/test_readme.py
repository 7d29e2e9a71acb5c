"""Tests of ``export/readme.py``."""

from __future__ import annotations

from pathlib import Path

from export.evaluate import Report
from export.readme import BEGIN, END, update_readme


def report(*, further: bool = False) -> Report:
    """A model that was timed and not measured."""
    return Report(
        model="sentiment-zh@2", task="sentiment", language="zh", cell="gru", num_layers=1, hidden_size=384, embedding_dim=160,
        parameters=2_640_000, precision="float32", further=further, microseconds_per_token=24.6,
    )  # fmt: skip


def test_the_table_between_the_markers_is_written_anew(tmp_path: Path) -> None:
    """What stands around it stays; only models that ship are shown."""
    path = tmp_path / "README.md"
    path.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n", encoding="utf-8")

    assert update_readme(path, [report(), report(further=True)])

    text = path.read_text(encoding="utf-8")
    assert text.startswith(f"before\n{BEGIN}\n| model |")
    assert text.endswith(f" |\n{END}\nafter\n")
    assert text.count("| sentiment-zh | GRU 1 × 384, 2.6 M weights | 25 |") == 1
    assert "old" not in text


def test_a_readme_without_markers_is_left_alone(tmp_path: Path) -> None:
    """Also one that is not there."""
    path = tmp_path / "README.md"
    assert not update_readme(path, [report()])
    path.write_text(f"{BEGIN}\nno end\n", encoding="utf-8")

    assert not update_readme(path, [report()])
    assert path.read_text(encoding="utf-8") == f"{BEGIN}\nno end\n"


def test_the_readme_of_the_project_has_the_markers() -> None:
    """Else its numbers would age."""
    text = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")

    assert text.count(BEGIN) == text.count(END) == 1
