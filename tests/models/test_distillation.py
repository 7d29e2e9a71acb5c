"""Tests of models/distillation.py and of the stage that it feeds: students learn from teachers, forward or backward."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from models.checkpoint import METRICS_FILE, load_checkpoint
from models.corpora import Language
from models.distillation import blended, drawn_sentences, sentences, teacher_probabilities
from models.loop import Run, TrainingError
from models.recipe import Recipe
from models.stages import lessons_of
from models.train import train

MakeRecipe = Callable[..., Recipe]
MakeRun = Callable[..., Run]
PLAIN = {"epochs": 12, "max_rows": 8, "learning_rate": 0.02, "ema": 0.5, "dropout": 0.0, "row_dropout": 0.0}


@pytest.fixture
def teachers(make_recipe: MakeRecipe, make_run: MakeRun) -> tuple[Path, Path]:
    """A forward and a backward reader."""
    found = []
    for backward in (False, True):
        model = {"cell": "lstm", "embedding_dim": 8, "hidden_size": 16, "backward": backward}
        run = make_run(make_recipe(model=model, classifier=PLAIN), "backward" if backward else "forward")
        train(run)
        found.append(run.out)
    return found[0], found[1]


def test_a_student_learns_what_its_teachers_say(
    make_recipe: MakeRecipe, make_run: MakeRun, teachers: tuple[Path, Path]
) -> None:
    """Three stages, each in the metrics; the student agrees with its teachers where it has no label at all."""
    data = {"sentiment": ["sst2", "sst5"], "unlabelled": ["imdb/unsup.jsonl.gz"]}
    recipe = make_recipe(classifier=PLAIN | {"epochs": 1}, distillation=PLAIN, data=data)
    run = make_run(recipe, "student", teachers=teachers)

    stages = train(run)["stages"]

    texts = ["I found this one awful, to be sure.", "I found this one lovely, to be sure."]
    theirs = teacher_probabilities(run, texts)
    student = make_run(recipe, teachers=(run.out,))
    assert list(stages) == ["language-model", "classifier", "distillation"]
    assert stages["distillation"]["dev"]["sst2"] > 0.9
    assert torch.equal(teacher_probabilities(student, texts).argmax(1), theirs.argmax(1))
    assert json.loads((run.out / METRICS_FILE).read_text())["teachers"] == ["forward", "backward"]


def test_without_teachers_the_stage_is_left_out(make_recipe: MakeRecipe, make_run: MakeRun) -> None:
    """The same recipe serves who has no time for teachers."""
    run = make_run(make_recipe(classifier=PLAIN | {"epochs": 1}, distillation=PLAIN))

    assert list(train(run)["stages"]) == ["language-model", "classifier"]


def test_a_backward_reader_sees_a_text_from_its_end(
    make_recipe: MakeRecipe, make_run: MakeRun, teachers: tuple[Path, Path]
) -> None:
    """When it learns and when it is asked; its checkpoint says so, whoever loads it."""
    text = "I found this one awful, to be sure."
    recipe = make_recipe(model={"cell": "lstm", "embedding_dim": 8, "hidden_size": 16, "backward": True})
    config, module, tokenizer = load_checkpoint(teachers[1])
    ids = tokenizer.encode(text).ids
    lessons = lessons_of(make_run(recipe), tokenizer, [text], torch.tensor([[1.0, 0.0]]), [1.0])

    asked = teacher_probabilities(make_run(recipe, teachers=teachers[1:]), [text])

    with torch.no_grad():
        logits, _ = module(torch.tensor([ids[::-1]]), torch.tensor([len(ids)]))
    assert [load_checkpoint(folder)[0].backward for folder in teachers] == [False, True]
    assert lessons.encoded[0].tolist() == ids[::-1]
    assert torch.allclose(
        asked[0], torch.softmax(logits[0, -1] / config.temperature, dim=0), atol=0.02
    )  # asked in bfloat16


def test_teachers_of_another_kind_are_refused(
    make_recipe: MakeRecipe, make_run: MakeRun, teachers: tuple[Path, Path]
) -> None:
    """Another language, or a language model: no mean of theirs means anything."""
    recipe = make_recipe(language="zh", distillation=PLAIN)

    with pytest.raises(TrainingError, match="no teacher for tiny"):
        train(make_run(recipe, teachers=teachers[:1]))


def test_teachers_need_a_recipe_that_has_a_place_for_them(make_recipe: MakeRecipe, make_run: MakeRun) -> None:
    """Nothing is left out in silence."""
    with pytest.raises(TrainingError, match=r"no \[distillation\] section"):
        train(make_run(make_recipe(), teachers=(Path("anywhere"),)))


def test_own_labels_keep_their_share() -> None:
    """Texts without a label have the teachers' word alone."""
    own, theirs = torch.tensor([[0.0, 1.0]]), torch.tensor([[0.5, 0.5], [0.9, 0.1]])

    assert torch.allclose(blended(own, theirs, 0.8), torch.tensor([[0.4, 0.6], [0.9, 0.1]]))


@pytest.mark.parametrize(
    ("language", "text", "expected"),
    [
        ("en", 'A first sentence here. "And a second one!" No.<br /><br />The third line is long enough', 3),
        ("zh", "这家店的菜很好吃。下次还会再来！好。不过有点贵，要等很久", 3),
    ],
)
def test_texts_fall_into_their_sentences(language: Language, text: str, expected: int) -> None:
    """Very short ones are left out: they say nothing by themselves."""
    found = sentences(text, language)

    assert len(found) == expected
    assert all(sentence in text for sentence in found)


def test_sentences_are_drawn_up_to_a_limit() -> None:
    """Evenly, each once, and the same for the same seed."""
    texts = [f"This is sentence number {n}. This is one they all share." for n in range(20)]

    drawn = drawn_sentences(texts, "en", 5, seed=3)

    assert len(set(drawn)) == 5
    assert drawn == drawn_sentences(texts, "en", 5, seed=3) != drawn_sentences(texts, "en", 5, seed=4)
    assert len(drawn_sentences(texts, "en", 100, seed=3)) == 21
    assert drawn_sentences(texts, "en", 0, seed=3) == []
