"""Tests of models/distillation.py and of the stage that it feeds: students learn from teachers, forward or backward."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from io import StringIO
from pathlib import Path

import pytest
import torch

from models.checkpoint import METRICS_FILE, WEIGHTS_FILE, load_checkpoint
from models.corpora import Example, Language, fingerprint
from models.distillation import Texts, blended, drawn_sentences, sentences, taught, teacher_probabilities
from models.loop import ANSWERS_FILE, Run, TrainingError
from models.negation import NEGATION
from models.recipe import Recipe
from models.stages import lessons_of
from models.train import train

MakeRecipe = Callable[..., Recipe]
MakeRun = Callable[..., Run]
PLAIN = {"epochs": 12, "max_rows": 8, "learning_rate": 0.02, "ema": 0.5, "dropout": 0.0, "row_dropout": 0.0}
NEW_WORDS = (("zyx", 0), ("qwv", 1))  # that no recurrent teacher has seen


def killed_here(*_: object, **__: object) -> None:
    raise KeyboardInterrupt


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


def test_linear_teachers_have_a_say_in_the_corpora_named(
    make_recipe: MakeRecipe, make_run: MakeRun, teachers: tuple[Path, Path]
) -> None:
    """In their labelled texts, which they have not seen then, and in unlabelled ones of the same kind; not in others."""
    data = {"sentiment": ["sst2", "imdb"], "unlabelled": ["imdb/unsup.jsonl.gz"], "negation_share": 0.1}
    linear = {"imdb": ("imdb/unsup.jsonl.gz",)}
    recipe = make_recipe(data=data, distillation=PLAIN | {"linear": linear, "teachers_share": 1.0})
    section = recipe.distillation
    assert section is not None
    run = make_run(recipe, teachers=teachers)
    run.out.mkdir()
    rows = [Example(f"imdb {number}: {word} it is", label, "imdb") for number in range(90) for word, label in NEW_WORDS]
    rest = [Example("sst2: bad it is", 0, "sst2"), Example("bad", 1, NEGATION), Example("fine", 1, "sst5", 0.5)]
    odd = [f"odd{mark} quux zyx{end}" for mark in ("", ",", ";") for end in ("", ".", "!")]  # all else says negative
    rows += [Example(text, 1, "imdb") for text in odd]
    unlabelled = ["number 91: zyx it is", "number 92: qwv it is"]

    texts, targets, weights = taught(
        run, section, Texts(rows + rest, {"imdb/unsup.jsonl.gz": unlabelled}, {"imdb": rows[:120]})
    )

    asked = teacher_probabilities(run, [*texts])
    said = dict(zip(texts, targets[:, 1].tolist(), strict=True))
    assert len(texts) == len(targets) == len(weights)
    assert said[rows[0].text] < 0.5 < said[rows[1].text]
    assert said[unlabelled[0]] < 0.5 < said[unlabelled[1]]
    assert max(said[text] for text in odd) < 0.5
    assert said["sst2: bad it is"] == pytest.approx(float(asked[texts.index("sst2: bad it is"), 1]), abs=1e-4)
    assert (said["bad"], said["fine"]) == (1, 0.5)


def test_a_recipe_may_learn_from_teachers_alone(
    make_recipe: MakeRecipe, make_run: MakeRun, teachers: tuple[Path, Path]
) -> None:
    """A second run has no stage of its own before; without teachers it has nothing to do, and says so."""
    start = teachers[0]
    recipe = make_recipe(classifier=None, language_model=None, distillation=PLAIN | {"start_share": 0.5})

    metrics = train(make_run(recipe, "second", init=start, teachers=teachers))

    assert list(metrics["stages"]) == ["distillation"]
    with pytest.raises(TrainingError, match=r"no \[classifier\] section: it learns from --teacher alone"):
        train(make_run(recipe, "nothing", init=start))


def test_a_killed_run_does_not_ask_again(
    make_recipe: MakeRecipe, make_run: MakeRun, teachers: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the teachers said is kept until the run is finished, which leaves nothing of it behind."""
    recipe = make_recipe(classifier=None, language_model=None, distillation=PLAIN)
    once, killed = (make_run(recipe, out, teachers=teachers) for out in ("once", "killed"))
    train(once)
    with monkeypatch.context() as patch:
        patch.setattr("models.train.train_classifier", killed_here)
        with pytest.raises(KeyboardInterrupt):
            train(killed)
    again = make_run(recipe, "killed", teachers=teachers)
    train(again)

    assert isinstance(again.console.file, StringIO)
    assert "asking" not in again.console.file.getvalue()
    assert (again.out / WEIGHTS_FILE).read_bytes() == (once.out / WEIGHTS_FILE).read_bytes()
    assert not (again.out / ANSWERS_FILE).exists()


def test_answers_are_kept_for_the_same_run_alone(
    make_recipe: MakeRecipe, make_run: MakeRun, teachers: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One teacher fewer, and they are asked."""
    recipe = make_recipe(classifier=None, language_model=None, distillation=PLAIN)
    with monkeypatch.context() as patch:
        patch.setattr("models.train.train_classifier", killed_here)
        with pytest.raises(KeyboardInterrupt):
            train(make_run(recipe, teachers=teachers))
    other = make_run(recipe, teachers=teachers[:1])

    train(other)

    assert isinstance(other.console.file, StringIO)
    assert "asking forward" in other.console.file.getvalue()


def test_a_share_of_the_start_needs_a_start(
    make_recipe: MakeRecipe, make_run: MakeRun, teachers: tuple[Path, Path]
) -> None:
    """Said before any stage has run."""
    run = make_run(make_recipe(distillation=PLAIN | {"start_share": 0.5}), teachers=teachers)

    with pytest.raises(TrainingError, match="give --init"):
        train(run)
    assert run.finished == {}


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


def test_a_student_reads_texts_as_people_type_them(
    make_recipe: MakeRecipe, make_run: MakeRun, teachers: tuple[Path, Path]
) -> None:
    """Some lose their marks, whatever the recipe's share says; what they should answer stays."""
    texts, targets = ["It was fine, I think."] * 20, torch.tensor([[0.2, 0.8]] * 20)
    _, _, tokenizer = load_checkpoint(teachers[0])
    lengths = {}
    for share in (0.0, 0.5):
        run = make_run(make_recipe(data={"unmarked_share": share}))
        lessons = lessons_of(run, tokenizer, texts, targets, [1.0] * 20)
        lengths[share] = [len(ids) for ids in lessons.encoded]
        assert torch.equal(lessons.targets, targets)

    whole = lengths[0.0][0]
    assert set(lengths[0.0]) == {whole}
    assert {whole, whole - 1, whole - 2} == set(lengths[0.5])  # both marks, or the last
    with_errors = lessons_of(make_run(make_recipe(data={"mistyped_share": 1.0})), tokenizer, texts, targets, [1.0] * 20)
    assert all(tokenizer.decode(ids.tolist()) != texts[0].lower() for ids in with_errors.encoded)


def test_teachers_may_have_folders_of_one_name(
    make_recipe: MakeRecipe, make_run: MakeRun, teachers: tuple[Path, Path], tmp_path: Path
) -> None:
    """Every one of them is heard."""
    same_name = [shutil.copytree(folder, tmp_path / str(i) / "run") for i, folder in enumerate(teachers)]
    texts = ["I found this one awful, to be sure.", "fine"]

    asked = teacher_probabilities(make_run(make_recipe(), teachers=tuple(same_name)), texts)

    assert torch.equal(asked, teacher_probabilities(make_run(make_recipe(), teachers=teachers), texts))
    assert torch.allclose(asked.sum(dim=1), torch.ones(2))


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


def test_asking_says_how_far_it_is(
    make_recipe: MakeRecipe, make_run: MakeRun, teachers: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may take many minutes."""
    monkeypatch.setattr("models.distillation.LOG_EVERY_S", 0.0)
    run = make_run(make_recipe(), teachers=teachers[:1])

    teacher_probabilities(run, ["a text", "another, longer one"])

    output = run.console.file
    assert isinstance(output, StringIO)
    assert re.search(r"forward +100\.0%", output.getvalue())


def test_a_text_that_comes_twice_is_asked_about_once(
    make_recipe: MakeRecipe, make_run: MakeRun, teachers: tuple[Path, Path]
) -> None:
    """A corpus that counts three times costs no more to judge, and each copy gets the same answer, in its place."""
    run = make_run(make_recipe(), "asking", teachers=teachers)
    texts = ["awful", "lovely", "awful", "fine", "lovely"]

    said = teacher_probabilities(run, texts)

    assert torch.equal(said[[0, 1]], said[[2, 4]])
    assert torch.allclose(said[[0, 1, 3]], teacher_probabilities(run, ["awful", "lovely", "fine"]))
    assert isinstance(run.console.file, StringIO)
    assert "about 3 texts" in run.console.file.getvalue()


def test_own_labels_keep_their_share() -> None:
    """Texts without a label have the teachers' word alone."""
    own, theirs = torch.tensor([[0.0, 1.0], [0.5, 0.5]]), torch.tensor([[0.5, 0.5], [1.0, 0.0], [0.9, 0.1]])

    targets = blended(own, theirs, torch.tensor([0.8, 0.0]))

    assert torch.allclose(targets, torch.tensor([[0.4, 0.6], [0.5, 0.5], [0.9, 0.1]]))


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
    assert drawn_sentences(["This whole text is one."], "en", 100, seed=3) == []
    assert fingerprint(drawn[0]) not in map(fingerprint, drawn_sentences(texts, "en", 100, 3, {fingerprint(drawn[0])}))
