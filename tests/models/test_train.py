"""Tests of models/train.py, models/loop.py and models/stages.py: whole runs, tiny."""

from __future__ import annotations

import json
import math
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from models import loop
from models.calibration import final_logits, fit_temperature
from models.checkpoint import METRICS_FILE, WEIGHTS_FILE, load_checkpoint
from models.classifier import Classifier, ClassifierConfig
from models.corpora import CorpusError, Example
from models.data import encode
from models.loop import RESUME_FILE, Run, Schedule, Stage, TrainingError, average
from models.recipe import Recipe
from models.stages import class_weights, layerwise, targets_of
from models.train import train
from models.trunk import TrunkConfig
from models.typed_texts import as_typed

MakeRecipe = Callable[..., Recipe]
MakeRun = Callable[..., Run]
Write = Callable[[Path, list[dict[str, Any]]], None]
ROOT = Path(__file__).resolve().parents[2]


def said(run: Run) -> str:
    assert isinstance(run.console.file, StringIO)
    return run.console.file.getvalue()


def weights_in(folder: Path) -> dict[str, Tensor]:
    return load_file(folder / WEIGHTS_FILE)


def same(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


# -- whole runs --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])
def test_training_makes_a_classifier_that_learned_its_texts(
    make_recipe: MakeRecipe, make_run: MakeRun, cell: str
) -> None:
    """A checkpoint that loads, a falling loss, dev accuracy beside it, the corpora with their licences in the config."""
    classifier = {"epochs": 12, "max_rows": 8, "learning_rate": 0.02, "ema": 0.5}
    plain = {"dropout": 0.0, "row_dropout": 0.0, "head_dropout": [0.0, 0.0]}
    run = make_run(make_recipe("sentiment", cell, language_model=None, classifier=classifier | plain))

    metrics = train(run)

    config, module, _ = load_checkpoint(run.out)
    curve = metrics["stages"]["classifier"]["curve"]
    assert isinstance(module, Classifier)
    assert curve[-1]["loss"] < 0.8 * curve[0]["loss"]
    assert metrics["stages"]["classifier"]["dev"]["sst2"] > 0.9
    assert [use.name for use in config.training_data] == ["sst2", "imdb"]
    assert json.loads((run.out / METRICS_FILE).read_text()) == metrics


@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])
def test_training_makes_a_language_model_that_learned_its_text(
    make_recipe: MakeRecipe, make_run: MakeRun, cell: str
) -> None:
    """A few hundred steps on a text of one pattern bring the watched documents far below a uniform guess."""
    section = {"epochs": 15, "rows": 4, "bptt": 16, "warmup_steps": 5, "learning_rate": 0.02}
    run = make_run(make_recipe("language-model", cell, language_model=section))

    metrics = train(run)["stages"]["language-model"]

    assert metrics["curve"][-1]["loss"] < 0.6 * metrics["curve"][0]["loss"]
    assert metrics["watched_nll_per_token"] < 0.6 * math.log(load_checkpoint(run.out)[0].architecture.trunk.vocab_size)


def test_the_classifiers_trunk_begins_where_the_language_model_ended(
    make_recipe: MakeRecipe, make_run: MakeRun
) -> None:
    """The second stage starts from the first one's weights: with a rate of next to nothing they are still there."""
    recipe = make_recipe(classifier={"epochs": 1, "learning_rate": 1e-12, "ema": 0.0, "weight_decay": 0.0})
    with_stage, without = (
        make_run(recipe, "with"),
        make_run(recipe.model_copy(update={"language_model": None}), "without"),
    )

    train(with_stage)
    train(without)

    key = "trunk.embedding.weight"
    fresh, trained = weights_in(without.out)[key].float(), weights_in(with_stage.out)[key].float()
    assert fresh.abs().max() <= 0.1
    assert trained.abs().max() > 0.1


@pytest.mark.parametrize("task", ["sentiment", "language-model"])
def test_a_run_may_start_from_a_checkpoint(make_recipe: MakeRecipe, make_run: MakeRun, task: str) -> None:
    """Its tokenizer, its weights, its data with their licences, and how it was trained itself, all go on."""
    first = make_run(make_recipe(task), "first")
    before = train(first)
    still = {"epochs": 1, "learning_rate": 1e-12, "weight_decay": 0.0, "rows": 4, "bptt": 16}
    if task == "sentiment":
        still = {key: still[key] for key in ("epochs", "learning_rate", "weight_decay")} | {"ema": 0.0}
        recipe = make_recipe(task, language_model=None, classifier=still, data={"sentiment": ["yelp"]})
    else:
        recipe = make_recipe(task, language_model=still, data={"text": ["masc"]})
    second = make_run(recipe, "second", init=first.out, seed=5)

    after = train(second)

    assert same(weights_in(second.out), weights_in(first.out))
    assert (second.out / "tokenizer.json").read_text() == (first.out / "tokenizer.json").read_text()
    assert after["started_from"]["minutes"] == before["minutes"]
    names = [use.name for use in load_checkpoint(second.out)[0].training_data]
    assert names == (["sst2", "imdb", "yelp"] if task == "sentiment" else ["tatoeba_en", "masc"])


def test_who_starts_from_a_checkpoint_has_its_sizes(make_recipe: MakeRecipe, make_run: MakeRun) -> None:
    """Whatever the recipe's own: nobody has to look them up. The metrics say what was trained."""
    model = {"cell": "lstm", "embedding_dim": 6, "hidden_size": 10, "num_layers": 2, "pools": ["mean"], "head_size": 7}
    first = make_run(make_recipe(model=model), "first")
    train(first)

    metrics = train(make_run(make_recipe(), "second", init=first.out))

    assert load_checkpoint(first.out)[0].classifier == load_checkpoint(first.out.parent / "second")[0].classifier
    assert {key: metrics["recipe"]["model"][key] for key in model} == model


def test_a_tokenizer_that_is_given_is_used_or_refused_by_name(
    make_recipe: MakeRecipe, make_run: MakeRun, tmp_path: Path
) -> None:
    """Never trained anew or left out in silence."""
    first = make_run(make_recipe(), "first")
    train(first)
    given = first.out / "tokenizer.json"
    other_texts = make_recipe(data={"sentiment": ["yelp"]}, language_model=None)
    second = make_run(other_texts, "second", tokenizer=given)
    train(second)

    assert (second.out / "tokenizer.json").read_text() == given.read_text()
    with pytest.raises(TrainingError, match=r"nothing\.json"):
        train(make_run(other_texts, "third", tokenizer=tmp_path / "nothing.json"))
    with pytest.raises(TrainingError, match="leave --tokenizer out"):
        train(make_run(make_recipe(), "fourth", tokenizer=given, init=first.out))


def test_a_start_may_keep_its_share_of_the_weights(make_recipe: MakeRecipe, make_run: MakeRun) -> None:
    """The mean of before and after; without a start there is nothing to keep, and the run says so."""
    train(make_run(make_recipe(), "first"))
    start = make_run(make_recipe(), "first").out
    section = {"epochs": 1, "max_rows": 8, "learning_rate": 0.02, "ema": 0.0}

    whole = make_run(make_recipe(language_model=None, classifier=section), "whole", init=start)
    kept = make_run(make_recipe(language_model=None, classifier=section | {"start_share": 0.75}), "kept", init=start)
    train(whole)
    train(kept)

    before, after, mean = (weights_in(folder) for folder in (start, whole.out, kept.out))
    for key, value in mean.items():
        assert torch.allclose(value.float(), 0.75 * before[key].float() + 0.25 * after[key].float(), atol=8e-3)
    with pytest.raises(TrainingError, match="give --init"):
        train(make_run(kept.recipe, "nothing"))


def test_a_checkpoint_of_another_language_is_refused(make_recipe: MakeRecipe, make_run: MakeRun) -> None:
    """Not started from random weights in silence."""
    first = make_run(make_recipe(), "first")
    train(first)

    with pytest.raises(TrainingError, match="a model of en, the recipe tiny is for zh"):
        train(make_run(make_recipe(language="zh"), "second", init=first.out))


@pytest.mark.parametrize("task", ["sentiment", "language-model"])
def test_a_seed_reproduces_the_weights(make_recipe: MakeRecipe, make_run: MakeRun, task: str) -> None:
    """The same command on the same machine gives the same bytes; another seed does not."""
    runs = [make_run(make_recipe(task), f"out{n}", seed=seed) for n, seed in enumerate((7, 7, 8))]
    for run in runs:
        train(run)
    first, again, other = (weights_in(run.out) for run in runs)

    assert same(first, again)
    assert not same(first, other)


def test_metrics_say_what_was_run(make_recipe: MakeRecipe, make_run: MakeRun) -> None:
    """Every number in a model card comes from this file, so it holds the recipe, the seed and the versions."""
    run = make_run(make_recipe(), seed=3)
    metrics = train(run)

    assert metrics["recipe"] == run.recipe.model_dump(mode="json")
    assert (metrics["seed"], metrics["device"], metrics["torch"]) == (3, "cpu", torch.__version__)
    for stage in metrics["stages"].values():
        assert stage.keys() >= {"steps", "tokens", "minutes", "curve"}


def test_negation_templates_are_mixed_in_and_declared(make_recipe: MakeRecipe, make_run: MakeRun) -> None:
    """They are training data like any other."""
    run = make_run(make_recipe(data={"sentiment": ["sst2"], "negation_share": 0.5}))
    train(run)

    used = {use.name: use for use in load_checkpoint(run.out)[0].training_data}
    assert used["negation templates"].rows == 24


def test_a_corpus_without_a_dev_part_does_not_stop_a_run(make_recipe: MakeRecipe, make_run: MakeRun) -> None:
    """There is nothing to calibrate on, so probabilities stay as they are."""
    run = make_run(make_recipe(data={"sentiment": ["cad_imdb"]}))
    train(run)

    assert load_checkpoint(run.out)[0].temperature == 1.0


def test_a_run_whose_texts_lose_marks_is_calibrated_without_marks_as_well(
    make_recipe: MakeRecipe, make_run: MakeRun, own_corpora: Path, rows_file: Write
) -> None:
    """On dev texts as they are and as people type them, alike."""
    rows = [{"text": f"film {n}, my friends, was {('bad', 'good')[n % 2]}!", "label": n % 3 % 2} for n in range(60)]
    rows_file(own_corpora / "sst2/dev.jsonl.gz", rows)
    run = make_run(
        make_recipe(language_model=None, data={"sentiment": ["sst2"], "unmarked_share": 0.5}), data=own_corpora
    )
    train(run)

    config, model, tokenizer = load_checkpoint(run.out)
    assert isinstance(model, Classifier)
    texts, labels = [str(row["text"]) for row in rows], torch.tensor([row["label"] for row in rows])
    both = final_logits(model, encode(tokenizer, texts + as_typed(texts, 1.0, 0.0, run.seed)))
    assert config.temperature == pytest.approx(fit_temperature([(both, labels.repeat(2))]), rel=0.02)
    assert config.temperature != pytest.approx(fit_temperature([(both[:60], labels)]), rel=0.02)


def rows_of_two_kinds() -> list[dict[str, Any]]:
    """What calibrates: half of the texts are labelled at random, and have a word that says so."""
    rng = np.random.default_rng(0)
    rows: list[dict[str, Any]] = []
    for n in range(1_200):
        label = int(rng.integers(2))
        word = ("bad", "good")[label]
        text = f"film {n} is {word} to me" if n % 2 else f"film {n} is {word}, so they say, so they say"
        rows.append({"text": text, "label": label if n % 2 else int(rng.integers(2))})
    return rows


def test_a_run_gives_each_text_a_temperature_if_dev_says_so_and_a_second_run_starts_without(
    make_recipe: MakeRecipe, make_run: MakeRun, own_corpora: Path, rows_file: Write
) -> None:
    """Texts that hearsay labels are told from those that are sure; training never sees a temperature."""
    rows_file(own_corpora / "sst2/dev.jsonl.gz", rows_of_two_kinds())
    training = [{"text": f"{row['text']}.", "label": row["label"], "in_sst": None} for row in rows_of_two_kinds()]
    rows_file(own_corpora / "sst2/train_phrases.jsonl.gz", training)
    recipe = make_recipe(language_model=None, data={"sentiment": ["sst2"]})
    first = make_run(recipe, data=own_corpora)
    metrics = train(first)

    config, model, _ = load_checkpoint(first.out)
    assert isinstance(model, Classifier)
    assert model.config.text_temperature
    assert metrics["calibration"]["text_temperature"] is True
    nll = metrics["calibration"]["cross_validated_nll"]
    assert nll["text_temperature"] < nll["one_temperature"]
    assert config.temperature == pytest.approx(metrics["calibration"]["temperature"], abs=1e-3)

    frozen = {"epochs": 1, "max_rows": 8, "learning_rate": 1e-9}
    again = make_recipe(language_model=None, data={"sentiment": ["sst2"]}, classifier=frozen)
    second = make_run(again, "second", data=own_corpora, init=first.out)
    train(second)
    before, after = weights_in(first.out), weights_in(second.out)
    kept = [name for name in before if not name.startswith("temperature.")]
    assert all(torch.allclose(before[name], after[name], atol=2e-3) for name in kept)


def test_everyday_texts_choose_and_calibrate_where_a_recipe_says_so(make_recipe: MakeRecipe, make_run: MakeRun) -> None:
    """They need no corpora."""
    run = make_run(make_recipe(data={"sentiment": ["sst2"], "everyday": True}))
    metrics = train(run)

    assert metrics["stages"]["classifier"]["dev"].keys() == {"sst2", "everyday"}


# -- time --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("task", ["sentiment", "language-model"])
def test_max_minutes_is_kept(make_recipe: MakeRecipe, make_run: MakeRun, task: str) -> None:
    """A run that would take an hour ends in time, tokenizer and all, every stage having had its share."""
    sections: dict[str, Any] = {"language_model": {"epochs": 100_000, "rows": 4, "bptt": 16, "share_of_time": 0.5}}
    if task == "sentiment":
        sections["classifier"] = {"epochs": 100_000, "max_rows": 8}
    else:
        sections["language_model"]["share_of_time"] = 1.0
    run = make_run(make_recipe(task, **sections), max_minutes=4 / 60)
    began = time.monotonic()

    metrics = train(run)

    assert 2.5 < time.monotonic() - began < 6
    steps = [stage["steps"] for stage in metrics["stages"].values()]
    assert all(n > 5 for n in steps)


def test_even_without_time_there_is_a_model(make_recipe: MakeRecipe, make_run: MakeRun) -> None:
    """If reading the data took all of it, each stage still makes one step, and the checkpoint is whole."""
    run = make_run(make_recipe(), max_minutes=1e-6)
    metrics = train(run)

    assert [stage["steps"] for stage in metrics["stages"].values()] == [1, 1]
    load_checkpoint(run.out)


@pytest.mark.parametrize("limit_s", [math.inf, 100.0])
def test_the_rate_warms_up_and_ends_low_by_steps_or_by_time(limit_s: float) -> None:
    """A slow run anneals by the clock what a fast one anneals by steps."""
    schedule = Schedule(total_steps=100, warmup_steps=10, limit_s=limit_s)

    assert schedule.factor(0, 0) == pytest.approx(0.1)
    assert schedule.factor(9, 0) > 0.97
    assert schedule.factor(100, 0) == pytest.approx(0.01)
    assert schedule.progress(50, 0) == 0.5
    if limit_s == 100:
        assert schedule.factor(20, 100) == pytest.approx(0.01)
        assert schedule.progress(20, 70) == 0.7


def test_the_rate_never_rises_after_the_warm_up() -> None:
    """Step after step it falls."""
    schedule = Schedule(200, 20, math.inf)
    factors = [schedule.factor(step, 0) for step in range(20, 200)]

    assert factors == sorted(factors, reverse=True)


# -- kills -------------------------------------------------------------------------------------------------------------


class Killed(BaseException):
    """Stands for a kill that Python can see: nothing catches it."""


@pytest.mark.parametrize(
    ("task", "stage", "step"),
    [
        ("language-model", "language-model", 9),
        ("sentiment", "language-model", 5),
        ("sentiment", "classifier", 3),
        ("sentiment", "classifier", 0),
    ],
)
def test_a_killed_run_ends_with_the_weights_of_an_unbroken_one(
    make_recipe: MakeRecipe, make_run: MakeRun, monkeypatch: pytest.MonkeyPatch, task: str, stage: str, step: int
) -> None:
    """Optimizer, random state, carried states, averages and finished stages all go on exactly where they were."""
    monkeypatch.setattr(loop, "SAVE_EVERY_S", 0.0)
    recipe = make_recipe(task)
    train(make_run(recipe, "unbroken"))
    one_step = Stage._step

    def dying_step(self: Stage, *args: Any) -> tuple[Tensor, int]:
        if (self.name, self.step) == (stage, step):
            raise Killed
        return one_step(self, *args)

    with monkeypatch.context() as patch:
        patch.setattr(Stage, "_step", dying_step)
        with pytest.raises(Killed):
            train(make_run(recipe, "killed"))
    resumed = make_run(recipe, "killed")
    metrics = train(resumed)

    if step:
        assert f"{stage}: going on from step {step}," in said(resumed)
    assert same(weights_in(resumed.out), weights_in(resumed.out.parent / "unbroken"))
    assert (
        metrics["stages"].keys()
        == json.loads((resumed.out.parent / "unbroken" / METRICS_FILE).read_text())["stages"].keys()
    )
    assert not (resumed.out / RESUME_FILE).exists()


KILLED_RUN = """
import sys
from pathlib import Path
from rich.console import Console
import torch
from models import loop
from models.recipe import Recipe
from models.train import train

loop.SAVE_EVERY_S = loop.LOG_EVERY_S = 0.0
torch.set_num_threads(1)
recipe = Recipe.model_validate_json(sys.argv[1])
train(loop.Run(recipe, Path(sys.argv[2]), Path(sys.argv[3]), console=Console(width=200)))
"""


def test_a_run_that_was_killed_by_the_system_goes_on_and_says_so(
    make_recipe: MakeRecipe, make_run: MakeRun, corpora: Path, tmp_path: Path
) -> None:
    """SIGKILL in the middle of training: the same command again goes on from a later step than the first."""
    section = {"epochs": 12, "rows": 4, "bptt": 16}
    recipe = make_recipe("language-model", language_model=section)
    command = [sys.executable, "-c", KILLED_RUN, recipe.model_dump_json(), str(corpora), str(tmp_path / "out")]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if " step 12 " in line:
                process.send_signal(signal.SIGKILL)
                break
    assert process.returncode == -signal.SIGKILL
    assert not (tmp_path / "out" / WEIGHTS_FILE).exists()

    again = make_run(recipe, "out")
    train(again)

    going_on = next(line for line in said(again).splitlines() if "going on from step" in line)
    assert int(going_on.split("step ")[1].split(",")[0]) >= 11
    assert " step 1 " not in said(again)
    load_checkpoint(tmp_path / "out")


def killed_out(make_run: MakeRun, recipe: Recipe, monkeypatch: pytest.MonkeyPatch, **fields: Any) -> Run:
    """A run that has left its resume file."""
    run = make_run(recipe, **fields)
    with monkeypatch.context() as patch:
        patch.setattr("models.train.save_checkpoint", lambda *_: (_ for _ in ()).throw(Killed()))
        with pytest.raises(Killed):
            train(run)
    return run


@pytest.mark.parametrize("changed", ["seed", "recipe"])
def test_another_recipe_or_seed_starts_over_and_says_so(
    make_recipe: MakeRecipe, make_run: MakeRun, monkeypatch: pytest.MonkeyPatch, changed: str
) -> None:
    """What a run left behind is of use to that run alone."""
    recipe = make_recipe("language-model")
    killed_out(make_run, recipe, monkeypatch)
    if changed == "recipe":
        recipe = make_recipe("language-model", "rnn")
    run = make_run(recipe, seed=1 if changed == "seed" else 0)

    train(run)

    assert "is of another recipe, seed, text file or start: starting over" in said(run)
    assert "going on" not in said(run)


def test_an_edited_text_file_starts_over(
    make_recipe: MakeRecipe, make_run: MakeRun, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Labels that were mended count, under whatever name."""
    recipe, texts = make_recipe(language_model=None), own_file(tmp_path / "reviews.jsonl", 40)
    killed_out(make_run, recipe, monkeypatch, data=None, own_texts=texts)
    texts.write_text(
        texts.read_text().replace('"label": 1', '"label": "x"').replace('"label": 0', '"label": 1').replace('"x"', "0")
    )
    run = make_run(recipe, data=None, own_texts=texts)

    train(run)

    assert "starting over" in said(run)


def test_an_out_that_is_a_file_is_named(make_recipe: MakeRecipe, make_run: MakeRun, tmp_path: Path) -> None:
    """Before minutes of work."""
    out = own_file(tmp_path / "mine.jsonl", 4)

    with pytest.raises(TrainingError, match=r"mine\.jsonl: no folder can be made there"):
        train(make_run(make_recipe(), out=out))


def test_a_damaged_resume_file_is_refused_with_its_name(
    make_recipe: MakeRecipe, make_run: MakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Hours of work are not thrown away in silence."""
    run = killed_out(make_run, make_recipe("language-model"), monkeypatch)
    path = run.out / RESUME_FILE
    path.write_bytes(path.read_bytes()[:100])

    with pytest.raises(TrainingError, match=r"resume\.safetensors: cannot go on from it .*delete it to start over"):
        train(make_run(run.recipe))


# -- bad input ---------------------------------------------------------------------------------------------------------


def test_a_recipe_that_needs_corpora_says_so(make_recipe: MakeRecipe, make_run: MakeRun, tmp_path: Path) -> None:
    """No folder, or one that is not there."""
    with pytest.raises(TrainingError, match="the recipe tiny needs the corpora: give --data DIR"):
        train(make_run(make_recipe(), data=None))
    with pytest.raises(TrainingError, match="absent is no folder"):
        train(make_run(make_recipe(), data=tmp_path / "absent"))


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_a_missing_device_is_named(make_recipe: MakeRecipe, make_run: MakeRun) -> None:
    """Before any work."""
    with pytest.raises(TrainingError, match="no CUDA device here"):
        train(make_run(make_recipe(), device="cuda"))


def test_a_loss_that_is_no_number_stops_the_run(make_recipe: MakeRecipe, make_run: MakeRun) -> None:
    """Better no checkpoint than one of NaN."""
    run = make_run(make_recipe(language_model=None, classifier={"epochs": 50, "learning_rate": 1e30, "clip": 1e30}))

    with pytest.raises(
        TrainingError, match=r"classifier: the loss is (nan|inf) at step \d+; try a smaller learning_rate"
    ):
        train(run)
    assert not (run.out / WEIGHTS_FILE).exists()


def test_a_text_shorter_than_a_batch_trains_in_fewer_streams(make_recipe: MakeRecipe, make_run: MakeRun) -> None:
    """A small corpus makes a small batch, not an endless loop without one."""
    section = {"epochs": 2, "rows": 500, "bptt": 64}
    metrics = train(make_run(make_recipe("language-model", language_model=section)))

    assert metrics["stages"]["language-model"]["steps"] >= 2


def own_file(path: Path, rows: int) -> Path:
    lines = [{"text": f"item {n} is {('awful', 'lovely')[n % 2]}", "label": n % 2} for n in range(rows)]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def test_a_users_own_texts_need_no_corpora(make_recipe: MakeRecipe, make_run: MakeRun, tmp_path: Path) -> None:
    """Nine tenths train, one tenth measures; the card says that the data is the owner's."""
    recipe = make_recipe(language_model=None, classifier={"epochs": 20, "learning_rate": 0.03, "ema": 0.5})
    metrics = train(make_run(recipe, data=None, own_texts=own_file(tmp_path / "reviews.jsonl", 400)))

    config, _, _ = load_checkpoint(tmp_path / "out")
    assert [(use.name, use.licence, use.rows) for use in config.training_data] == [("reviews", "the owner's", 360)]
    assert metrics["stages"]["classifier"]["dev"]["reviews"] > 0.95


def test_copies_of_a_text_stay_on_one_side(make_recipe: MakeRecipe, make_run: MakeRun, tmp_path: Path) -> None:
    """A text that stands in the file twice does not train and measure at once."""
    path = own_file(tmp_path / "reviews.jsonl", 40)
    path.write_text(path.read_text() * 3)
    run = make_run(make_recipe(language_model=None), data=None, own_texts=path)
    train(run)

    assert load_checkpoint(run.out)[0].training_data[0].rows == 3 * 36


def test_a_handful_of_texts_still_makes_a_model(make_recipe: MakeRecipe, make_run: MakeRun, tmp_path: Path) -> None:
    """Too few to measure or calibrate, enough to try the way."""
    run = make_run(make_recipe(language_model=None), data=None, own_texts=own_file(tmp_path / "few.jsonl", 4))
    metrics = train(run)

    assert metrics["stages"]["classifier"]["dev"] == {}
    assert load_checkpoint(run.out)[0].temperature == 1.0


def test_a_wrong_own_file_is_refused_before_any_work(
    make_recipe: MakeRecipe, make_run: MakeRun, tmp_path: Path
) -> None:
    """The message names file and line."""
    path = tmp_path / "reviews.csv"
    path.write_text("text,label\ngood,yes\n")

    with pytest.raises(CorpusError, match=r"reviews\.csv, line 2: unknown label 'yes'"):
        train(make_run(make_recipe(), data=None, own_texts=path))


# -- parts -------------------------------------------------------------------------------------------------------------


def test_the_average_moves_by_its_decay() -> None:
    """EMA: 0.75 old + 0.25 new."""
    averaged, module = nn.Linear(1, 1), nn.Linear(1, 1)
    for model, value in ((averaged, 4.0), (module, 8.0)):
        for p in model.parameters():
            nn.init.constant_(p, value)

    average(averaged, module, 0.75)

    assert {p.item() for p in averaged.parameters()} == {5.0}


def test_a_stage_skips_to_its_place_without_reading_batches_again(make_recipe: MakeRecipe, make_run: MakeRun) -> None:
    """Epochs are dealt by number, in order, until the schedule is over."""
    module = nn.Linear(1, 1)
    stage = Stage(
        make_run(make_recipe()), "s", module, torch.optim.SGD(module.parameters(), 0.1), Schedule(7, 1, math.inf)
    )
    stage.run.out.mkdir()
    seen: list[tuple[int, int]] = []

    def batches(epoch: int) -> Iterator[tuple[int, int]]:
        return ((epoch, n) for n in range(3))

    def loss_of(batch: tuple[int, int]) -> tuple[Tensor, int]:
        seen.append(batch)
        return module(torch.ones(1, 1)).sum(), 1

    stage.train(batches, loss_of, clip=1.0)

    assert seen == [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2), (2, 0)]


def test_soft_labels_are_learned_as_they_are() -> None:
    """A phrase that raters placed in between is no full example of a class."""
    examples = [Example("", 1, "a"), Example("", 0, "b", positive=0.25)]

    assert targets_of(examples, 2).tolist() == [[0.0, 1.0], [0.75, 0.25]]


def test_class_weights_balance_each_source_within_bounds() -> None:
    """N / (2 n_class): both classes of a source weigh the same in sum, unless that would blow a rare class up."""
    even = [Example("", 0, "a"), Example("", 1, "a"), Example("", 1, "a")]
    lopsided = [Example("", 0, "b"), *([Example("", 1, "b")] * 99)]

    assert class_weights(even, ["a"]) == [1.5, 0.75, 0.75]
    assert class_weights(lopsided, ["a", "b"])[:2] == [4.0, pytest.approx(0.505, abs=0.001)]
    assert class_weights(even, ["b"]) == [1.0, 1.0, 1.0]


def test_lower_layers_learn_more_slowly_after_pretraining() -> None:
    """Half the rate per layer down; from scratch all learn alike. Every parameter is in one group."""
    trunk = TrunkConfig(cell="gru", vocab_size=9, embedding_dim=3, hidden_size=4, num_layers=2)
    model = Classifier(ClassifierConfig(trunk=trunk))

    assert [group["lr"] for group in layerwise(model, 0.8, pretrained=True)] == [0.8, 0.4, 0.2, 0.1]
    assert {group["lr"] for group in layerwise(model, 0.8, pretrained=False)} == {0.8}
    assert sum(len(group["params"]) for group in layerwise(model, 0.8, True)) == len(list(model.parameters()))
