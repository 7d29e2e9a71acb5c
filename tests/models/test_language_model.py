"""Tests of models/language_model.py."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from models.language_model import FusedCrossEntropy, LanguageModel, LanguageModelConfig, fused_cross_entropy
from models.trunk import TrunkConfig


def tiny_lm() -> LanguageModel:
    return LanguageModel(
        LanguageModelConfig(trunk=TrunkConfig(cell="lstm", vocab_size=11, embedding_dim=5, hidden_size=6))
    )


@pytest.mark.parametrize("n", [1, 7, 512, 513, 1100])
def test_fused_cross_entropy_is_torchs(n: int) -> None:
    """Value and all three gradients, also across the seams of its chunks."""
    torch.manual_seed(n)
    x, weight, bias = torch.randn(n, 5), torch.randn(11, 5), torch.randn(11)
    targets = torch.randint(11, (n,))
    ours = [t.clone().requires_grad_() for t in (x, weight, bias)]
    torchs = [t.clone().requires_grad_() for t in (x, weight, bias)]

    loss = fused_cross_entropy(ours[0], ours[1], ours[2], targets, torch.float32)
    expected = F.cross_entropy(torchs[0] @ torchs[1].T + torchs[2], targets)
    (3 * loss).backward()
    (3 * expected).backward()

    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)
    for a, b in zip(ours, torchs, strict=True):
        assert a.grad is not None
        assert b.grad is not None
        assert torch.allclose(a.grad, b.grad, atol=1e-6, rtol=1e-4)


def test_fused_cross_entropy_in_bfloat16_stays_close() -> None:
    """Half precision costs less than a hundredth of a nat; the gradients keep their direction."""
    torch.manual_seed(0)
    x, weight, targets = torch.randn(600, 16), torch.randn(200, 16).requires_grad_(), torch.randint(200, (600,))
    expected = F.cross_entropy(x @ weight.T, targets)
    (reference,) = torch.autograd.grad(expected, weight)

    loss = fused_cross_entropy(x, weight, torch.zeros(200), targets, torch.bfloat16)
    (gradient,) = torch.autograd.grad(loss, weight)

    assert loss.item() == pytest.approx(expected.item(), abs=0.01)
    assert float(F.cosine_similarity(gradient.flatten(), reference.flatten(), dim=0)) > 0.999


def test_an_impossible_target_costs_much_but_not_infinitely() -> None:
    """A probability that underflows to 0 gives a large finite loss, so one odd token does not end a run."""
    x, weight = torch.tensor([[1.0]]), torch.tensor([[200.0], [-200.0]])

    loss = fused_cross_entropy(x, weight, torch.zeros(2), torch.tensor([1]), torch.float32)

    assert 60 < float(loss) < 500


def test_logits_beyond_a_chunk_cost_no_memory() -> None:
    """The saved tensors are the gradients, not the (N, V) logits."""
    x = torch.randn(3 * FusedCrossEntropy.CHUNK["cpu"], 4, requires_grad=True)
    loss = fused_cross_entropy(
        x, torch.randn(300, 4), torch.zeros(300), torch.zeros(len(x), dtype=torch.int64), torch.float32
    )

    assert loss.grad_fn is not None
    assert max(t.numel() for t in loss.grad_fn.saved_tensors) < len(x) * 300  # type: ignore[attr-defined]


def test_input_and_output_share_one_matrix() -> None:
    """Tied: the output layer adds a projection and a bias, no second vocabulary matrix."""
    model = tiny_lm()
    shapes = [tuple(p.shape) for p in model.parameters()]

    assert shapes.count((11, 5)) == 1
    logits, _ = model.eval()(torch.tensor([[3, 4]]))
    x, _ = model.hidden(torch.tensor([[3, 4]]))
    assert torch.allclose(logits, x @ model.trunk.embedding.weight.T + model.bias)


@torch.no_grad()
def test_a_text_in_pieces_is_the_text_as_a_whole() -> None:
    """Logits and state do not depend on where the text was divided."""
    model, ids = tiny_lm().eval(), torch.tensor([[1, 4, 5, 6]])
    whole, whole_state = model(ids)
    first, state = model(ids[:, :3])
    second, state = model(ids[:, 3:], None, state)

    assert torch.allclose(torch.cat([first, second], dim=1), whole, atol=1e-6)
    assert torch.allclose(state, whole_state, atol=1e-6)
