"""Calibration of a classifier: the temperature that makes its probabilities mean what they say on dev texts."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from models.classifier import Classifier
from models.data import IdArray, TokenTable

TEMPERATURES = np.geomspace(0.3, 5, 200)
BUSY = {"cpu": 32_000, "cuda": 256_000}  # tokens of a batch
FEWEST = 50  # dev texts of a source; fewer say nothing about a temperature


@torch.no_grad()
def final_logits(
    model: Classifier,
    encoded: Sequence[IdArray],
    device: str = "cpu",
    max_tokens: int | None = None,
    tell: Callable[[float], None] | None = None,
) -> Tensor:
    """Logits after each whole text, batched by length.

    Args:
        model: in eval mode.
        encoded: token ids of each text.
        device: where the model is.
        max_tokens: padded tokens of a batch; by default what keeps the device busy.
        tell: is told after each batch what share of the tokens is done.

    Returns:
        (N, C); zeros for an empty text.
    """
    out = torch.zeros(len(encoded), len(model.config.labels))
    some = [i for i, ids in enumerate(encoded) if len(ids)]
    if not some:
        return out
    table = TokenTable([encoded[i] for i in some], device)
    most = int(table.lengths.max())
    order = np.argsort(table.lengths, kind="stable").tolist()
    done = (np.cumsum(table.lengths[order]) / table.lengths.sum()).tolist()
    found: list[Tensor] = []
    start = 0
    while start < len(order):
        end = start + 1
        while end < len(order) and (end + 1 - start) * table.lengths[order[end]] <= (max_tokens or BUSY[device]):
            end += 1
        input_ids, lengths, _ = table.batch(order[start:end], most, [False] * (end - start))
        found.append(model(input_ids, lengths, final_only=True)[0].float())
        start = end
        if tell is not None:
            tell(done[end - 1])
    out[[some[i] for i in order]] = torch.cat(found).cpu()
    return out


def fit_temperature(parts: Sequence[tuple[Tensor, Tensor]], otherwise: float = 1.0) -> float:
    """The temperature of least negative log-likelihood, each source counting alike.

    Args:
        parts: for each source (N, C) logits and (N,) labels; sources of fewer than ``FEWEST`` texts are left out.
        otherwise: the temperature if no source has so many.

    Returns:
        What to divide logits by.
    """
    enough = [(logits, labels) for logits, labels in parts if len(labels) >= FEWEST]
    if not enough:
        return otherwise
    nll = [sum(float(F.cross_entropy(logits / t, labels)) for logits, labels in enough) for t in TEMPERATURES]
    return float(TEMPERATURES[int(np.argmin(nll))])


def accuracies(parts: Mapping[str, tuple[Tensor, Tensor]]) -> dict[str, float]:
    """Share of right answers of each source, rounded to four digits."""
    return {
        name: round(float((logits.argmax(dim=1) == labels).float().mean()), 4)
        for name, (logits, labels) in parts.items()
    }
