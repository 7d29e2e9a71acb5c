"""Tests of models/recipe.py."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from models.cli import RECIPES
from models.recipe import Recipe, RecipeError, load_recipe

MINIMAL = """
name = "mine"
task = "sentiment"
language = "en"
[model]
cell = "gru"
[classifier]
"""


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "mine.toml"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize("path", sorted(RECIPES.glob("*.toml")), ids=lambda path: path.stem)
def test_every_recipe_that_comes_along_is_valid_and_named_as_its_file(path: Path) -> None:
    """``rnnserve train sentiment-en`` makes the model sentiment-en."""
    assert load_recipe(path).name == path.stem


def test_a_recipe_needs_little(tmp_path: Path) -> None:
    """Everything has a default but what makes the model what it is."""
    recipe = load_recipe(written(tmp_path, MINIMAL))

    assert (recipe.name, recipe.model.hidden_size, recipe.labels) == ("mine", 256, ("negative", "positive"))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('cell = "gru"', 'cell = "transformer"', r"model\.cell: Input should be 'rnn', 'lstm' or 'gru'"),
        ('cell = "gru"', 'cell = "gru"\nhiden_size = 5', r"model\.hiden_size: Extra inputs are not permitted"),
        ("[classifier]", "[classifier]\nlearning_rate = -1", r"classifier\.learning_rate: "),
        ("[classifier]", "", r"a sentiment recipe needs a \[classifier\] section"),
        ('task = "sentiment"', 'task = "language-model"', r"needs a \[language_model\] section, no \[classifier\]"),
        ('name = "mine"', 'name = "My Model"', r"name: "),
        ('language = "en"', 'language = "fr"', r"language: "),
        ('language = "en"', 'language = "en"\nlabels = ["one"]', r"labels: "),
        (
            "[model]",
            '[data]\nsentiment = ["imbd"]\n[model]',
            r"data\.sentiment: no corpus 'imbd' in en; there are sst2, sst2_sentences, sst5",
        ),
        ("[model]", '[data]\nsentiment = ["waimai"]\n[model]', r"no corpus 'waimai' in en"),
        ("[model]", '[data]\ntext = ["tatoeba_zh"]\n[model]', r"data\.text: no corpus 'tatoeba_zh' in en"),
        ('cell = "gru"', 'cell = "gru"\npools = []', r"model\.pools: "),
        ('cell = "gru"', 'cell = "gru"\npools = ["last", "last"]', r"model\.pools: .*each pool may stand there once"),
        ("[model]", "[model", r"not TOML"),
        ('language = "en"', 'language = "en"\nlabels = ["a", "a"]', r"labels: one stands twice"),
        (
            "[model]",
            'labels = ["positive", "negative"]\n[data]\nsentiment = ["imdb"]\n[model]',
            r"labels: the corpora have negative, positive, in this order",
        ),
        (
            "[model]",
            '[data]\nsentiment = ["imdb"]\nrepeat = { imbd = 2 }\n[model]',
            r"data\.repeat: 'imbd' is not in data\.sentiment",
        ),
        (
            "[classifier]",
            '[data]\nsentiment = ["imdb"]\n[classifier]\nclass_weights = ["imbd"]',
            r"class_weights: 'imbd' is not in data\.sentiment",
        ),
    ],
)
def test_a_wrong_recipe_is_refused_with_file_and_field(tmp_path: Path, old: str, new: str, message: str) -> None:
    """A misspelt key stops the run, before minutes of work."""
    path = written(tmp_path, MINIMAL.replace(old, new))

    with pytest.raises(RecipeError, match=message) as raised:
        load_recipe(path)

    assert str(raised.value).startswith(str(path))


def test_a_missing_recipe_is_named(tmp_path: Path) -> None:
    """Not there at all."""
    with pytest.raises(RecipeError, match=r"absent\.toml: No such file"):
        load_recipe(tmp_path / "absent.toml")


def test_a_recipe_takes_another_name_or_language_if_a_model_can_have_it(make_recipe: Callable[..., Recipe]) -> None:
    """The name becomes a folder, an id on the wire and a label in metrics; corpora have a language."""
    own = make_recipe(data={})

    assert own.changed({"name": "my-model", "language": "zh"}) == make_recipe(language="zh", name="my-model", data={})
    with pytest.raises(RecipeError, match="name: "):
        own.changed({"name": "../x"})
    with pytest.raises(RecipeError, match="language: "):
        own.changed({"language": "fr"})
    with pytest.raises(RecipeError, match="no corpus 'sst2' in zh"):
        make_recipe().changed({"language": "zh"})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"data": {"closed": "wikitext103"}}, "no benchmark 'wikitext103'; there are ptb, wikitext2"),
        ({"data": {"closed": "ptb", "text": ["masc"]}}, "ptb is read alone"),
        ({"data": {"closed": "ptb"}, "language": "zh"}, "ptb is for a language model in en"),
        ({"data": {"closed": "ptb"}, "task": "sentiment", "classifier": {}}, "ptb is for a language model in en"),
    ],
)
def test_a_benchmark_is_a_language_models_and_stands_alone(changes: dict[str, object], message: str) -> None:
    """What else a model had read would make its perplexity incomparable."""
    document = {"name": "mine", "task": "language-model", "language": "en", "model": {"cell": "lstm"}}

    with pytest.raises(ValueError, match=message):
        Recipe.model_validate(document | {"language_model": {}} | changes)
