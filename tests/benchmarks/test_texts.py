"""The benchmark's texts: the same ones for everybody, as long as people write them."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.texts import MEAN_WORDS, chinese_texts, english_texts, vocabulary


def test_a_seed_makes_the_same_texts_again() -> None:
    assert english_texts(20, seed=1) == english_texts(20, seed=1)
    assert english_texts(20, seed=1) != english_texts(20, seed=2)
    assert chinese_texts(20, seed=1) == chinese_texts(20, seed=1)


def test_lengths_have_the_stated_mean_and_spread() -> None:
    lengths = [len(text.split()) for text in english_texts(3000, seed=3)]

    assert np.mean(lengths) == pytest.approx(MEAN_WORDS, rel=0.05)
    assert np.percentile(lengths, [10, 90]) == pytest.approx([8, 36], abs=1.5)


def test_a_length_can_be_fixed() -> None:
    assert {len(text.split()) for text in english_texts(50, seed=3, words=20)} == {20}


def test_a_vocabulary_has_no_word_twice() -> None:
    words = vocabulary(5000)

    assert len(set(words)) == len(words) == 5000
