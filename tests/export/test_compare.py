"""Tests of ``export/compare.py`` on a hand-made corpora folder."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from export import compare as module
from export.baselines import BundleContender, Contender, Majority
from export.compare import compare, milliseconds_per_text
from export.evaluate_sentiment import EvaluationSet
from export.scoring import OpenBundle


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Some rows of one set."""
    path = tmp_path / "cr_customer_reviews/all.jsonl.gz"
    path.parent.mkdir()
    with gzip.open(path, "wt", encoding="utf-8") as file:
        file.writelines(json.dumps({"text": f"phone number {i}", "label": int(i < 4)}) + "\n" for i in range(10))
    return tmp_path


def test_all_contenders_are_measured_on_the_same_rows(
    bundles: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Accuracy, time and memory of each; the bundle first."""
    bundle = OpenBundle.open(bundles / "sentiment-en")
    pair: list[Contender] = [BundleContender(bundle.folder, "bundle"), Majority(0)]
    monkeypatch.setattr(module, "contenders", lambda *_: pair)  # without the packages of the extra

    report = compare(bundle, data, [EvaluationSet("cr_test", "CR", "cr")], 5, lambda _: None)

    assert report.rows == {"cr_test": 5}
    assert [c.name for c in report.contenders] == ["bundle", "majority"]
    assert all(c.milliseconds > 0 and c.megabytes > 0 for c in report.contenders)
    assert report.contenders[1].accuracy["cr_test"] in (0.4, 0.6, 0.8, 0.2)


def test_time_is_that_of_one_text_alone() -> None:
    """A contender that is fast only in large batches shows it."""
    asked: list[int] = []

    class Counting(Majority):
        def predict(self, texts):  # type: ignore[no-untyped-def]
            asked.append(len(texts))
            return super().predict(texts)

    assert milliseconds_per_text(Counting(1), ["a", "b", "c"]) >= 0
    assert set(asked) == {1}
