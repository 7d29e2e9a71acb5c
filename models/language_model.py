"""The language model: a recurrent trunk, a projection, and an output layer tied to the embedding."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from pydantic import BaseModel
from torch import Tensor, nn

from models.trunk import Dropouts, Trunk, TrunkConfig


class LanguageModelConfig(BaseModel, extra="forbid", frozen=True):
    """Architecture of a language model."""

    trunk: TrunkConfig

    @property
    def state_size(self) -> int:
        """The trunk's vectors are all it carries."""
        return self.trunk.state_size


class LanguageModel(nn.Module):
    """Predicts the next piece after every piece. Input and output embeddings are one matrix (Press & Wolf 2017)."""

    def __init__(self, config: LanguageModelConfig) -> None:
        super().__init__()
        self.config = config
        self.trunk = Trunk(config.trunk)
        self.projection = nn.Linear(config.trunk.hidden_size, config.trunk.embedding_dim)
        self.bias = nn.Parameter(torch.zeros(config.trunk.vocab_size))

    def hidden(
        self,
        input_ids: Tensor,
        lengths: Tensor | None = None,
        state: Tensor | None = None,
        dropout: Dropouts | None = None,
    ) -> tuple[Tensor, Tensor]:
        """As :meth:`forward`, but (B, T, E) before the output layer, for a fused loss."""
        h, state = self.trunk(input_ids, lengths, state, dropout)
        return self.projection(h), state

    def forward(
        self, input_ids: Tensor, lengths: Tensor | None = None, state: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Args as for :meth:`Trunk.forward`.

        Returns:
            (B, T, V) logits of the piece after each, and (B, S) the state after each row's own length.
        """
        x, state = self.hidden(input_ids, lengths, state)
        return x @ self.trunk.embedding.weight.T + self.bias, state


class FusedCrossEntropy(torch.autograd.Function):
    """Mean cross-entropy of a linear output layer, with its gradients made in the forward pass, chunk by chunk.

    For a vocabulary of 12,000 the logits would take most of a small model's time and memory: here a chunk of them stays
    near the cache, and in bfloat16 each is written twice instead of ten times (three times faster on two CPU cores).
    """

    CHUNK: ClassVar = {"cpu": 512, "cuda": 8192}  # rows of logits at a time

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, targets: Tensor, low: torch.dtype) -> Tensor:
        """Mean loss () of x (N, E) under weight (V, E) and bias (V,), for targets (N,)."""
        n = len(x)
        w, b = weight.to(low), bias.to(low)
        grad_x, grad_w, grad_b = torch.empty_like(x), torch.zeros_like(weight), torch.zeros_like(bias)
        loss = x.new_zeros(())
        chunk = FusedCrossEntropy.CHUNK[x.device.type]
        for start in range(0, n, chunk):
            part = slice(start, start + chunk)
            xs, ys = x[part].to(low), targets[part]
            rows = torch.arange(len(ys), device=x.device)
            p = torch.softmax(torch.addmm(b, xs, w.T), dim=1)  # (chunk, V)
            loss -= p[rows, ys].float().clamp_min(1e-30).log().sum()
            p[rows, ys] -= 1
            grad_x[part] = (p @ w).to(x.dtype)
            grad_w += p.T @ xs
            grad_b += torch.mm(p.new_ones(1, len(ys)), p)[0]
        ctx.save_for_backward(grad_x / n, grad_w / n, grad_b / n)
        return loss / n

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        """Scale the gradients that the forward pass has made."""
        grad_x, grad_w, grad_b = ctx.saved_tensors
        return grad_x * grads[0], grad_w * grads[0], grad_b * grads[0], None, None


def fused_cross_entropy(x: Tensor, weight: Tensor, bias: Tensor, targets: Tensor, low: torch.dtype) -> Tensor:
    """Mean negative log-likelihood of ``targets`` (N,) under softmax(x weight^T + bias); ``low`` is the matmul precision."""
    return FusedCrossEntropy.apply(x.float(), weight, bias, targets, low)  # type: ignore[no-any-return,no-untyped-call]
