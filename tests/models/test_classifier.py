"""Tests of models/classifier.py."""

from __future__ import annotations

from itertools import permutations

import pytest
import torch
from torch import Tensor

from models.classifier import Classifier, ClassifierConfig, Pool
from models.trunk import Cell, TrunkConfig

POOLS: tuple[Pool, ...] = ("last", "mean", "boltzmann")
SUBSETS = [pools for n in (1, 2, 3) for pools in permutations(POOLS, n)]  # the order is the recipe's choice
TOLERANCE = 1e-5


def classifier_of(
    pools: tuple[Pool, ...], cell: Cell = "lstm", labels: tuple[str, ...] = ("negative", "positive")
) -> Classifier:
    """A tiny classifier in eval mode, with sharpness that differs by dimension."""
    torch.manual_seed(2)
    trunk = TrunkConfig(cell=cell, vocab_size=20, embedding_dim=5, hidden_size=6)
    model = Classifier(ClassifierConfig(trunk=trunk, pools=pools, head_size=8, labels=labels)).eval()
    if "boltzmann" in pools:
        torch.nn.init.uniform_(model.sharpness, -3, 6)
    return model


def pooled_by_definition(model: Classifier, ids: list[int]) -> Tensor:
    """The pools of a whole text, written as in the textbook: nothing runs, nothing is carried."""
    h, _ = model.trunk(torch.tensor([ids]))
    h = h[0]  # (T, H)
    parts = []
    for pool in model.config.pools:
        if pool == "last":
            parts.append(h[-1])
        elif pool == "mean":
            parts.append(h.mean(dim=0))
        else:
            parts.append((torch.softmax(model.sharpness * h, dim=0) * h).sum(dim=0))
    return torch.cat(parts)


@pytest.mark.parametrize("pools", SUBSETS, ids="+".join)
@torch.no_grad()
def test_running_pools_equal_their_definition(pools: tuple[Pool, ...]) -> None:
    """After every token the running form gives what pooling the whole prefix gives."""
    model, ids = classifier_of(pools), [3, 4, 5, 6, 7, 8]

    logits, _ = model(torch.tensor([ids]), torch.tensor([6]))

    for t in range(1, 7):
        expected = model.out(torch.relu(model.head(pooled_by_definition(model, ids[:t]))))
        assert torch.allclose(logits[0, t - 1], expected, atol=TOLERANCE)


@pytest.mark.parametrize("pools", SUBSETS, ids="+".join)
@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])
@torch.no_grad()
def test_a_text_in_pieces_is_the_text_as_a_whole(pools: tuple[Pool, ...], cell: Cell) -> None:
    """The state carries the pools too."""
    model, ids = classifier_of(pools, cell), torch.tensor([[3, 4, 5, 6, 7]])
    whole, whole_state = model(ids, torch.tensor([5]))

    state, pieces = None, []
    for start, end in ((0, 1), (1, 4), (4, 5)):
        logits, state = model(ids[:, start:end], torch.tensor([end - start]), state)
        pieces.append(logits)

    assert state is not None
    assert state.shape[1] == model.config.state_size
    assert torch.allclose(torch.cat(pieces, dim=1), whole, atol=TOLERANCE)
    assert torch.allclose(state, whole_state, atol=TOLERANCE)


@pytest.mark.parametrize("pools", SUBSETS, ids="+".join)
@torch.no_grad()
def test_training_sees_the_logits_that_serving_gives(pools: tuple[Pool, ...]) -> None:
    """``final_only`` is a shorter way to the logits after each row's last real token."""
    model = classifier_of(pools)
    ids, lengths = torch.tensor([[3, 4, 5, 19], [6, 7, 8, 9]]), torch.tensor([2, 4])

    every, _ = model(ids, lengths)
    final, _ = model(ids, lengths, final_only=True)

    assert torch.allclose(final, every[torch.arange(2), lengths - 1], atol=TOLERANCE)


@torch.no_grad()
def test_padding_and_batch_mates_change_nothing() -> None:
    """A row alone and a padded row in a batch get the same logits and the same state."""
    model = classifier_of(POOLS)
    logits, state = model(torch.tensor([[3, 4, 5, 19, 19], [6, 7, 8, 9, 10]]), torch.tensor([3, 5]))
    alone, alone_state = model(torch.tensor([[3, 4, 5]]), torch.tensor([3]))

    assert torch.allclose(logits[:1, :3], alone, atol=TOLERANCE)
    assert torch.allclose(state[:1], alone_state, atol=TOLERANCE)


@torch.no_grad()
def test_sharpness_leads_from_the_mean_to_the_maximum() -> None:
    """The Boltzmann pool is the mean at sharpness 0 and all but the maximum at a high one."""
    model = classifier_of(("boltzmann",))
    h, _ = model.trunk(torch.tensor([[3, 4, 5, 6]]))
    for sharpness, expected in ((0.0, h[0].mean(dim=0)), (500.0, h[0].amax(dim=0))):
        torch.nn.init.constant_(model.sharpness, sharpness)
        assert torch.allclose(pooled_by_definition(model, [3, 4, 5, 6]), expected, atol=0.01)


def test_a_classifier_may_have_more_than_two_classes() -> None:
    """The labels decide the number of logits."""
    logits, _ = classifier_of(POOLS, labels=("bad", "so-so", "good"))(torch.tensor([[3]]), torch.tensor([1]))

    assert logits.shape == (1, 1, 3)
