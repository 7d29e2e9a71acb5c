"""Tests of models/cell_tasks.py: the tasks are what they say, and what can be learned is learned."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from models.cell_tasks import (
    ALWAYS_ONE,
    COPIED,
    FIRST_SYMBOL,
    GO,
    SYMBOLS,
    LabelledText,
    RunningText,
    adding,
    adding_batch,
    copy_batch,
    copying,
    fit,
    gradient_by_distance,
    language_model,
    repeat,
    sentiment,
    total_nll,
    training_rate,
)
from models.language_model import LanguageModel, LanguageModelConfig
from models.trunk import Cell, TrunkConfig

TRUNK = TrunkConfig(cell="gru", vocab_size=20, embedding_dim=6, hidden_size=8)


@pytest.fixture
def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


@pytest.mark.parametrize("length", [2, 7, 50])
def test_the_adding_problem_marks_one_number_in_each_half(generator: torch.Generator, length: int) -> None:
    """And asks for the sum of the two."""
    x, y = adding_batch(length, 200, generator)
    numbers, marks = x[..., 0], x[..., 1]

    assert x.shape == (200, length, 2)
    assert torch.equal(marks[:, : length // 2].sum(dim=1), torch.ones(200))
    assert torch.equal(marks[:, length // 2 :].sum(dim=1), torch.ones(200))
    assert torch.equal((numbers * marks).sum(dim=1), y)


def test_always_saying_one_costs_a_sixth(generator: torch.Generator) -> None:
    """The variance of the sum of two uniform numbers: the line that a run has to get below."""
    _, y = adding_batch(10, 200_000, generator)

    assert float(((y - 1) ** 2).mean()) == pytest.approx(ALWAYS_ONE, abs=0.002)


@pytest.mark.parametrize("delay", [0, 1, 30])
def test_the_copy_task_asks_for_the_symbols_after_the_delay(generator: torch.Generator, delay: int) -> None:
    """Symbols, blanks, calls; the answer is nowhere near the calls."""
    ids, symbols = copy_batch(delay, 50, generator)

    assert ids.shape == (50, COPIED + delay + COPIED)
    assert torch.equal(ids[:, :COPIED] - FIRST_SYMBOL, symbols)
    assert set(ids[:, COPIED : COPIED + delay].flatten().tolist()) <= {0}
    assert set(ids[:, COPIED + delay :].flatten().tolist()) == {GO}
    assert set(symbols.flatten().tolist()) == set(range(SYMBOLS))


@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])
def test_short_sums_are_learned(cell: Cell) -> None:
    """At length 4 every cell gets far below the error of always saying the same."""
    outcome = adding(cell, 16, length=4, seed=0, steps=400, limit_s=60)

    assert outcome.numbers["error"] < ALWAYS_ONE / 3


def test_short_copies_are_learned_better_than_chance() -> None:
    """Without a delay, in a few steps."""
    outcome = copying("gru", 24, delay=0, seed=0, steps=150, limit_s=60)

    assert outcome.numbers["accuracy"] > 2 / SYMBOLS


def test_a_seed_reproduces_an_outcome() -> None:
    """The page can be made again."""
    first, again, other = (adding("rnn", 8, 5, seed, 20, math.inf).numbers for seed in (1, 1, 2))

    assert first == again
    assert first != other


def test_gradients_are_those_of_the_formula() -> None:
    """A linear recurrence h = x + h / 2 halves the gradient at each step back, far beyond float32."""
    layer = nn.RNN(3, 3, batch_first=True, nonlinearity="relu")
    with torch.no_grad():
        for name, value in (("weight_ih_l0", torch.eye(3)), ("weight_hh_l0", torch.eye(3) / 2)):
            layer.get_parameter(name).copy_(value)
        for name in ("bias_ih_l0", "bias_hh_l0"):
            layer.get_parameter(name).zero_()

    found = gradient_by_distance(layer, torch.rand(4, 300, 3))

    assert found == pytest.approx([0.5**d for d in range(300)], rel=1e-6)
    assert layer.get_parameter("weight_hh_l0").dtype == torch.float32


@pytest.fixture
def constant() -> tuple[nn.Module, Callable[[int], Tensor]]:
    """A module whose loss is 1 whatever it does."""
    module = nn.Linear(1, 1)
    return module, lambda _step: module(torch.zeros(1, 1)).sum() * 0 + 1


def test_a_fit_stops_at_its_steps_its_time_or_when_it_is_enough(
    constant: tuple[nn.Module, Callable[[int], Tensor]],
) -> None:
    """Whichever comes first; one step is always made."""
    module, loss_at = constant

    assert fit(module, loss_at, steps=7, limit_s=60)[0] == 7
    assert fit(module, loss_at, steps=10_000, limit_s=1e-9)[0] == 1
    assert fit(module, loss_at, steps=1000, limit_s=60, enough=2.0)[0] == 25
    assert fit(module, loss_at, steps=50, limit_s=60, enough=0.5)[0] == 50


def text_of_a_pattern(n: int) -> np.ndarray[tuple[int], np.dtype[np.int32]]:
    return np.resize(np.arange(3, 11, dtype=np.int32), n)


def test_a_language_model_learns_a_pattern_and_says_how_far_back_it_looks() -> None:
    """Below the 8 that knowing the eight tokens without their order would give; two curves that start at 1."""
    text = RunningText(train=text_of_a_pattern(20_000), valid=text_of_a_pattern(400), valid_words=399, vocab_size=20)

    outcome = language_model(TRUNK, text, seed=0, epochs=40, limit_s=60, distances=50)

    assert outcome.numbers["word_perplexity"] < 6
    for name in ("fresh_gradient", "trained_gradient"):
        assert len(outcome.curves[name]) == 50
        assert outcome.curves[name][0] == 1.0


def test_perplexity_counts_every_token_but_the_first_once() -> None:
    """A model that knows nothing pays log V for each of N - 1 tokens, however the stream is cut."""
    model = LanguageModel(LanguageModelConfig(trunk=TRUNK))
    for parameter in model.parameters():
        nn.init.zeros_(parameter)

    assert total_nll(model, text_of_a_pattern(1500)) == pytest.approx(1499 * math.log(20), rel=1e-5)


def test_a_classifier_is_measured_on_dev_on_clauses_with_filler_and_on_a_trace() -> None:
    """Token 5 is good and token 6 is bad: learned in a moment, and asked for at every length of filler."""
    rng = np.random.default_rng(0)

    def texts(n: int) -> tuple[list[np.ndarray[tuple[int], np.dtype[np.int32]]], list[int]]:
        labels = [i % 2 for i in range(n)]
        return [np.append(rng.integers(7, 20, 3), 6 - label).astype(np.int32) for label in labels], labels

    (train, train_labels), (dev, dev_labels) = texts(600), texts(40)
    text = LabelledText(
        train=train,
        train_labels=train_labels,
        dev=dev,
        dev_labels=dev_labels,
        clauses=[np.array([5], np.int32), np.array([6], np.int32)],
        clause_labels=[1, 0],
        filler=np.array([8, 9], np.int32),
        trace=np.array([8, 5, 6], np.int32),
    )

    outcome = sentiment(TRUNK, ("last",), text, seed=0, epochs=40, limit_s=60, filler_lengths=(0, 1, 300))

    assert outcome.numbers["accuracy"] > 0.95
    assert len(outcome.curves["after_filler"]) == 3
    assert outcome.curves["after_filler"][0] == 1.0
    assert len(outcome.curves["trace"]) == 3
    assert outcome.curves["trace"][1] > 0.5 > outcome.curves["trace"][2]


def test_filler_repeats() -> None:
    """As long as asked, from its beginning."""
    ids = np.array([1, 2, 3], np.int32)

    assert repeat(ids, 7).tolist() == [1, 2, 3, 1, 2, 3, 1]
    assert repeat(ids, 2).tolist() == [1, 2]
    assert repeat(ids, 0).tolist() == []


def test_a_training_rate_is_tokens_per_second() -> None:
    """More than a thousand for a cell of eight units, anywhere."""
    assert training_rate(TRUNK, seconds=0.05) > 1000
