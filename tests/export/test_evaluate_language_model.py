"""Tests of ``export/evaluate_language_model.py`` on a hand-made corpora folder."""

from __future__ import annotations

import gzip
import json
import math
import shutil
from pathlib import Path

import pytest

from export.evaluate_language_model import (
    NGRAMS,
    SampleSizes,
    bundle_nll,
    measure_language_model,
    perplexities,
)
from export.scoring import OpenBundle
from export.words import TextSize, split_document

LINES = {"train": ["我 去看电影", "你去看电影", "他去看书"] * 5, "valid": ["我去看书", "你去看电影吗", "他去"]}


@pytest.fixture
def bundle(bundles: Path, tmp_path: Path) -> OpenBundle:
    """A tiny Chinese language model that says it was trained on one corpus."""
    folder = Path(shutil.copytree(bundles / "lm-zh", tmp_path / "lm-zh"))
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["training_data"] = [{"name": "tatoeba_zh", "licence": "CC BY 2.0"}, {"name": "own texts", "licence": ""}]
    (folder / "manifest.json").write_text(json.dumps(manifest))
    for part, lines in LINES.items():
        path = tmp_path / f"data/lm_tatoeba_zh/{part}.txt.gz"
        path.parent.mkdir(parents=True, exist_ok=True)
        with gzip.open(path, "wt", encoding="utf-8") as file:
            file.write("\n".join(lines) + "\n")
    return OpenBundle.open(folder)


def test_a_bundle_is_measured_beside_n_grams_on_its_own_corpora(bundle: OpenBundle) -> None:
    """Corpora that are not in the folder's list are passed over; every model gets the same places."""
    report = measure_language_model(bundle, bundle.folder.parent / "data", SampleSizes(1000, 5, 3), lambda _: None)

    (corpus,) = report.corpora
    assert corpus.corpus == "tatoeba_zh"
    assert corpus.documents == 3
    assert corpus.units == 12
    assert [p.name for p in corpus.predictors] == ["lm-zh@1", *NGRAMS.values()]
    assert all(p.perplexity > p.perplexity_with_ends > 1 for p in corpus.predictors)
    assert {"tatoeba_zh_character_perplexity", "tatoeba_zh_top3", "tatoeba_zh_top3_bigram"} <= report.quality().keys()


def test_a_document_costs_its_pieces_and_its_end(bundle: OpenBundle) -> None:
    """An empty document costs the end mark alone, so a longer one costs more."""
    empty, full = (bundle_nll(bundle, [split_document(bundle.tokenizer, text)]) for text in ("", "我去看电影"))

    assert 0 < empty < full


def test_perplexity_is_per_unit_and_ends_are_paid_for() -> None:
    """Twelve bits over three words and one line end: 16 a word, 8 if the end counts as a unit."""
    result = perplexities(12 * math.log(2), TextSize(units=3, ends=1, characters=12))

    assert result["perplexity"] == pytest.approx(16)
    assert result["perplexity_with_ends"] == pytest.approx(8)
    assert result["bits_per_character"] == pytest.approx(1)


def test_a_quick_look_never_measures_more_than_the_whole() -> None:
    """``--limit`` only takes away."""
    assert SampleSizes.at_most(10**6) == SampleSizes()
    assert SampleSizes.at_most(10).words == 10
