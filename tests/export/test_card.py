"""Tests of ``export/card.py`` on a tiny bundle."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from export.behaviour import Case, Labels, judge
from export.card import model_card, note_in_bundle, write_card
from export.evaluate import Report, describe
from export.evaluate_language_model import Miss
from service.bundle import CARD_FILE, load_manifest, verify_files


@pytest.fixture
def folder(bundles: Path, tmp_path: Path) -> Path:
    """A bundle that the test may write to."""
    return Path(shutil.copytree(bundles / "sentiment-en", tmp_path / "sentiment-en"))


def behaviour_report(folder: Path) -> Report:
    behaviour = judge([Case("negation", ("not great",), Labels((0,)))], {"not great": np.array([0.1, 0.9])})
    return describe(folder, load_manifest(folder)).model_copy(update={"behaviour": behaviour})


def test_a_card_tells_what_was_measured_and_what_fails(folder: Path) -> None:
    """The failing text, its probability and what was expected; the bundle stays valid."""
    note_in_bundle(folder, behaviour_report(folder))

    card = (folder / CARD_FILE).read_text(encoding="utf-8")
    assert "negation: “not great” 90% (expected: negative)" in card
    verify_files(folder, load_manifest(folder))


def test_measures_of_different_runs_are_kept_side_by_side(folder: Path) -> None:
    """The behavioural suite does not wipe out the accuracies."""
    manifest = load_manifest(folder)
    (folder / "manifest.json").write_text(manifest.model_copy(update={"quality": {}}).model_dump_json())
    (folder / "metrics.json").write_text('{"quality": {"sst2_test_accuracy": 0.5}}')

    note_in_bundle(folder, behaviour_report(folder))

    assert load_manifest(folder).quality == {"sst2_test_accuracy": 0.5, "behaviour_negation": 0.0}


def test_a_card_says_what_a_firm_answer_is_where_it_counts_them(folder: Path) -> None:
    """A bare number after a bare name says nothing."""
    manifest = load_manifest(folder)
    counted = manifest.model_copy(update={"quality": {"semeval_neutral_test_firm": 0.6}})
    not_counted = manifest.model_copy(update={"quality": {"sst2_test_accuracy": 0.6}})

    assert "texts without a verdict that are answered with 80% or more" in model_card(counted, {}, 3.7)
    assert "without a verdict" not in model_card(not_counted, {}, 3.7)


def test_a_card_tells_of_a_temperature_for_each_text(folder: Path) -> None:
    """And what it is worth on texts that it was not fitted on."""
    nll = {"one_temperature": 0.2226, "text_temperature": 0.2181}
    metrics = {"calibration": {"text_temperature": True, "cross_validated_nll": nll}}

    card = model_card(load_manifest(folder), metrics, 3.7)

    assert "temperature within 1/e and e that depends on the text" in card
    assert "is 0.2181; with one temperature for all it is 0.2226" in card


def test_a_card_tells_of_kinds_of_texts(folder: Path) -> None:
    """The dev parts are the kinds."""
    nll = {"one_temperature": 0.2226, "text_temperature": 0.2181, "text_temperature_by_kinds": 0.2172}
    metrics = {"calibration": {"text_temperature": True, "kinds": 7, "cross_validated_nll": nll}}

    card = model_card(load_manifest(folder), metrics, 3.7)

    assert "depends on the text and on how much it is like those of the 7 dev parts" in card
    assert "is 0.2172; with one temperature for all it is 0.2226" in card


def test_a_card_names_the_models_whose_mean_it_describes(folder: Path) -> None:
    """A reader who trains the first of them again gets something else."""
    run = {"minutes": 30.0, "device": "cpu", "seed": 1, "torch": "2.13.0"}
    averaged = [{"name": "a", "share": 0.7, "minutes": 30.0, "device": "cpu", "seed": 1}, {"name": "b", "share": 0.3}]

    card = model_card(load_manifest(folder), run | {"averaged": averaged}, 3.7)

    assert "The weights are the mean of 2 models: 0.70 of one trained in 30 minutes on cpu, seed 1; 0.30 of b." in card
    assert "The first of them was trained in 30 minutes on cpu" in card


def test_a_card_names_data_with_licences_calibration_and_parity(folder: Path) -> None:
    """All of it from the manifest, also where nothing was measured yet."""
    source = {
        "name": "imdb",
        "licence": "not stated",
        "source": "aclImdb",
        "citation": "Maas et al. 2011",
        "rows": 24136,
    }
    manifest = type(load_manifest(folder)).model_validate(
        load_manifest(folder).model_dump() | {"training_data": [source], "quality": {}}
    )

    card = model_card(manifest, {}, 3.7)

    assert "| imdb | 24,136 | not stated | aclImdb | Maas et al. 2011 |" in card
    assert "logits / 1.300" in card
    assert f"{manifest.parity.max_error:.2g}" in card
    assert manifest.files["model.safetensors"] in card
    assert "Not measured yet" in card


def test_a_card_names_the_start_and_the_teachers(folder: Path) -> None:
    """What a model knows from other models is said where its data is."""
    metrics = {
        "minutes": 76.2, "device": "cpu", "seed": 0, "torch": "2.13", "teachers": ["first", "other-seed"],
        "started_from": {"name": "second", "minutes": 8, "started_from": {"name": "first", "minutes": 15, "device": "NVIDIA H100"}},
        "recipe": {"distillation": {"linear": {"imdb": []}}},
    }  # fmt: skip

    card = model_card(load_manifest(folder), metrics, 3.7)

    assert (
        "76 minutes on cpu, seed 0, torch 2.13, from second as trained in 8 minutes, from first as trained in 15 minutes on NVIDIA H100; "
        "taught by first, other-seed, linear models over n-grams." in card
    )


def test_a_language_model_s_card_shows_words_that_it_missed(bundles: Path) -> None:
    """With the text before them and what was suggested instead."""
    miss = Miss(context="I will see", word="you", suggested=["the", "it", "a"])

    card = model_card(load_manifest(bundles / "lm-en"), {"misses": [miss.model_dump()]}, 3.7)

    assert "## Known failures" in card
    assert "| … I will see | you | the, it, a |" in card


def test_a_language_model_s_card_has_no_calibration(bundles: Path, tmp_path: Path) -> None:
    """It predicts no label."""
    folder = Path(shutil.copytree(bundles / "lm-zh", tmp_path / "lm-zh"))

    write_card(folder)

    card = (folder / CARD_FILE).read_text(encoding="utf-8")
    assert "Chinese" in card
    assert "Calibration" not in card
