"""Tests of ``export/suggest.py`` on tiny language models."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from export.ngrams import train_word_models
from export.scoring import OpenBundle
from export.suggest import BundleSuggester, NGramSuggester, likeliest
from export.words import Prompt

CONTEXTS = {"lm-en": ["I will see you", "This movie is", "I"], "lm-zh": ["这部电影", "我明天去看", "房间不大，"]}


def prompt(context: str) -> Prompt:
    return Prompt(context, (context,), "")


@pytest.mark.parametrize("name", ["lm-en", "lm-zh"])
def test_suggestions_do_not_depend_on_what_is_asked_beside_them(bundles: Path, name: str) -> None:
    """Searches share model runs, and still answer as if alone."""
    bundle = OpenBundle.open(bundles / name)
    asked = [prompt(context) for context in CONTEXTS[name]]

    together = BundleSuggester(bundle).suggest(asked, [""] * 3, 3)
    alone = [BundleSuggester(bundle).suggest([one], [""], 3)[0] for one in asked]

    assert together == alone
    assert all(len(words) == 3 for words in together)


def test_text_far_behind_the_word_changes_nothing(bundles: Path) -> None:
    """Only the last tokens are read, and no more text is encoded for them."""
    bundle = OpenBundle.open(bundles / "lm-en")
    near = "I will see you. " * 400 + "I will see"

    first, second = BundleSuggester(bundle).suggest(
        [prompt(near), prompt("This movie is good. " * 900 + near)], [""] * 2, 3
    )

    assert first == second


def test_every_suggestion_begins_with_what_was_typed(bundles: Path) -> None:
    """The whole word is returned, the typed letters included."""
    (words,) = BundleSuggester(OpenBundle.open(bundles / "lm-en")).suggest([prompt("I will see you")], ["to"], 3)

    assert words
    assert all(word.startswith("to") for word in words)


def test_n_grams_suggest_the_likeliest_real_words() -> None:
    """Marks and words without a space before them are no candidates; a typed beginning narrows the choice."""
    documents = [
        ["I", " see", " you", "."],
        ["I", " see", " you", "."],
        ["I", " see", " it", "."],
        ["I", " see", " it", " yet"],
    ] * 2
    documents += [["I", " see", " you", "."]]
    (model,) = train_word_models(documents, [3])
    suggester = NGramSuggester(model, "en")
    here = Prompt("I see", ("I", " see"), "")

    assert suggester.suggest([here], [""], 2) == [["you", "it"]]
    assert suggester.suggest([here], ["y"], 3) == [["you", "yet"]]
    assert suggester.suggest([here], ["x"], 3) == [[]]


def test_the_likeliest_are_those_of_a_full_sort() -> None:
    """Among equals the first come first, also where only some of them fit."""
    probabilities = np.random.default_rng(3).integers(0, 6, 40) / 6

    for k in (1, 3, 7, 40, 50):
        assert likeliest(probabilities, k) == np.argsort(-probabilities, kind="stable")[:k].tolist()
