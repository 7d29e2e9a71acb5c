"""Tests of ``export/ngrams.py``: what it returns are probabilities, and those of Kneser and Ney."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from export.ngrams import END, UNKNOWN, NGramModel, Vocabulary, discounts, train_word_models

VOCABULARY = 9
streams = st.lists(st.integers(0, VOCABULARY - 2), min_size=1, max_size=120)  # id 8 is never seen
histories = st.lists(st.integers(0, VOCABULARY - 1), max_size=6)


@settings(deadline=None, max_examples=60)
@given(streams, histories, st.sampled_from([1, 2, 3, 5]))
def test_probabilities_of_all_words_sum_to_one(stream: list[int], history: list[int], order: int) -> None:
    """After any history, seen or not, and for every word also one that training never saw."""
    distribution = NGramModel(np.array(stream), VOCABULARY, order).distribution(history)

    assert distribution.sum() == pytest.approx(1, abs=1e-6)  # values are float32
    assert (distribution > 0).all()


@settings(deadline=None, max_examples=60)
@given(streams, st.lists(st.integers(0, VOCABULARY - 1), min_size=1, max_size=12), st.sampled_from([1, 2, 5]))
def test_a_stream_is_scored_word_by_word(stream: list[int], text: list[int], order: int) -> None:
    """The probabilities of a text are those of its words, each after the words before it."""
    model = NGramModel(np.array(stream), VOCABULARY, order)

    expected = [model.distribution(text[:t])[word] for t, word in enumerate(text)]

    np.testing.assert_allclose(model.probabilities(np.array(text)), expected, rtol=1e-6)


def test_a_word_seen_after_one_word_alone_is_rare_elsewhere() -> None:
    """The idea of Kneser and Ney: "francisco" is frequent, but only after "san", so it does not follow a new word."""
    rest, san, francisco, tea = 2, 3, 4, 5
    stream = [i for _ in range(9) for i in (san, francisco)] + [i for i in range(6, 15) for i in (i, tea)] + [rest]

    bigram = NGramModel(np.array(stream), 16, 2)
    unigram = NGramModel(np.array(stream), 16, 1)

    assert unigram.distribution([])[francisco] == pytest.approx(unigram.distribution([])[tea])
    assert bigram.distribution([15])[tea] > 3 * bigram.distribution([15])[francisco]
    assert bigram.distribution([san]).argmax() == francisco


def test_longer_histories_than_the_order_change_nothing() -> None:
    """A trigram model looks two words back."""
    model = NGramModel(np.array([2, 3, 4, 2, 3, 5, 2, 3, 4, 5]), 6, 3)

    np.testing.assert_array_equal(model.distribution([5, 5, 2, 3]), model.distribution([2, 3]))


def test_discounts_follow_the_counts_of_counts() -> None:
    """Chen and Goodman's estimates for 8 n-grams seen once, 4 twice, 2 three times, 1 four times."""
    counts = np.array([1] * 8 + [2] * 4 + [3] * 2 + [4])

    assert discounts(counts).tolist() == pytest.approx([0, 0.5, 2 - 3 * 0.5 * 2 / 4, 3 - 4 * 0.5 * 1 / 2])


def test_words_seen_once_stand_for_unknown_ones() -> None:
    """Otherwise no unknown word would ever be expected."""
    vocabulary = Vocabulary(Counter(["a", "b", "a", "c", "b", "a"]))

    assert vocabulary.ids(["a", "c", "d"])[1:] == [UNKNOWN, UNKNOWN]
    assert vocabulary.rare == ["c"]
    assert len(vocabulary) == END + 1 + 2


def test_any_text_has_a_finite_cost_and_its_own_domain_a_smaller_one() -> None:
    """Unknown words are spelled, also in letters that training never saw."""
    (model,) = train_word_models([["the", " cat", " sat"], ["the", " cat", " ran"], ["a", " cot"]] * 2, [3])

    known = model.nll([["the", " cat", " sat"]])
    strange = model.nll([["the", " cät", " 猫"]])

    assert 0 < known < strange < np.inf


def test_longer_orders_predict_a_text_better_whose_words_depend_on_two_before() -> None:
    """Held-out text of the same source: 3-grams know its rule, 1-grams only how frequent each word is."""
    rng = np.random.default_rng(2)
    text = [2, 3]
    for surprise in rng.random(6_000):
        rule = 2 + (3 * text[-1] + 5 * text[-2]) % 7
        text.append(rule if surprise < 0.8 else int(rng.integers(2, 9)))
    training, held_out = np.array(text[:5_000]), np.array(text[5_000:])

    nll = [-np.log(NGramModel(training, 9, n).probabilities(held_out)).mean() for n in (1, 2, 3)]

    assert nll[0] > nll[2] + 0.5
    assert nll[1] > nll[2] + 0.5
