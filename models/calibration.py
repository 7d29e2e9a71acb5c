"""Calibration of a classifier: the temperatures that make its probabilities mean what they say on dev texts."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from models.classifier import Classifier
from models.data import IdArray, TokenTable

TEMPERATURES = np.geomspace(0.3, 5, 200)
BUSY = {"cpu": 32_000, "cuda": 256_000}  # tokens of a batch
FEWEST = 50  # dev texts of a source; fewer say nothing about a temperature
FEWEST_FOR_TEXTS = 1_000  # dev texts in all; fewer say nothing about a temperature for each text
RIDGE = 0.01  # on the weights of a text's temperature, for features of unit variance on average; dev chose one for both languages
FOLDS = 5


@dataclass(frozen=True)
class DevPart:
    """What a classifier says of one source's dev texts.

    Args:
        features: (V, N, F) of the head's hidden layer, for V ways of writing each text.
        logits: (V, N, C) without any temperature.
        labels: (N,).
    """

    features: Tensor
    logits: Tensor
    labels: Tensor

    def rows(self, chosen: Tensor) -> DevPart:
        """Some of the texts, each in every way of writing."""
        return DevPart(self.features[:, chosen], self.logits[:, chosen], self.labels[chosen])

    def flat(self) -> tuple[Tensor, Tensor, Tensor]:
        """(V * N, F), (V * N, C), (V * N,)."""
        return self.features.flatten(0, 1), self.logits.flatten(0, 1), self.labels.repeat(len(self.logits))


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
    return _final(model, encoded, device, max_tokens, tell)[1]


@torch.no_grad()
def _final(
    model: Classifier,
    encoded: Sequence[IdArray],
    device: str,
    max_tokens: int | None = None,
    tell: Callable[[float], None] | None = None,
) -> tuple[Tensor, Tensor]:
    """(N, F) features and (N, C) logits after each whole text; see :func:`final_logits`."""
    config = model.config
    features, logits = torch.zeros(len(encoded), config.head_size), torch.zeros(len(encoded), len(config.labels))
    some = [i for i, ids in enumerate(encoded) if len(ids)]
    if not some:
        return features, logits
    table = TokenTable([encoded[i] for i in some], device)
    most = int(table.lengths.max())
    order = np.argsort(table.lengths, kind="stable").tolist()
    done = (np.cumsum(table.lengths[order]) / table.lengths.sum()).tolist()
    start = 0
    while start < len(order):
        end = start + 1
        while end < len(order) and (end + 1 - start) * table.lengths[order[end]] <= (max_tokens or BUSY[device]):
            end += 1
        input_ids, lengths, _ = table.batch(order[start:end], most, [False] * (end - start))
        found = model.final_features(input_ids, lengths)
        rows = [some[i] for i in order[start:end]]
        features[rows], logits[rows] = found.float().cpu(), model.logits(found).float().cpu()
        start = end
        if tell is not None:
            tell(done[end - 1])
    return features, logits


def dev_part(
    model: Classifier, ways: Sequence[Sequence[IdArray]], labels: Sequence[int], device: str = "cpu"
) -> DevPart:
    """Of the same encoded texts, written in one way or several."""
    found = [_final(model, encoded, device) for encoded in ways]
    return DevPart(
        torch.stack([features for features, _ in found]), torch.stack([x for _, x in found]), torch.tensor(labels)
    )


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


def fit_text_temperature(parts: Sequence[DevPart]) -> tuple[Tensor, Tensor]:
    """Weight (1, F) and bias (1,) of ``log T = tanh(weight x + bias)`` of least loss, each source counting alike; see ``RIDGE``.

    Features are brought to their mean and to unit variance on average: one that is rarely not zero then weighs little.
    """
    flat = [tuple(x.double() if x.is_floating_point() else x for x in part.flat()) for part in parts]
    features = torch.cat([x for x, _, _ in flat])
    mean, scale = features.mean(dim=0), features.var(dim=0).mean().sqrt().clamp(min=1e-6)
    weight = torch.zeros(1, features.shape[1], dtype=torch.float64, requires_grad=True)
    bias = torch.zeros(1, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([weight, bias], max_iter=300, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimizer.zero_grad()
        losses = [
            F.cross_entropy(logits * torch.exp(-torch.tanh(F.linear((x - mean) / scale, weight, bias))), labels)
            for x, logits, labels in flat
        ]
        total = torch.stack(losses).mean() + RIDGE * weight.square().sum()
        total.backward()
        return total

    optimizer.step(loss)
    weight, bias = weight.detach() / scale, bias.detach()
    return weight.float(), (bias - F.linear(mean, weight)).float()


@dataclass(frozen=True)
class Calibration:
    """A calibrated classifier.

    Args:
        model: with a temperature for each text, if dev says that it is better, else as it was.
        temperature: what all logits of ``model`` are divided by besides.
        nll: mean negative log-likelihood of dev texts that were not fitted on, with one temperature and with one for each text.
    """

    model: Classifier
    temperature: float
    nll: tuple[float, float] | None = None

    def summary(self) -> dict[str, object]:
        """What ``metrics.json`` notes."""
        one, each = (None, None) if self.nll is None else (round(nll, 4) for nll in self.nll)
        return {
            "temperature": round(self.temperature, 4),
            "text_temperature": self.model.config.text_temperature,
            "cross_validated_nll": {"one_temperature": one, "text_temperature": each},
        }


def calibrate(model: Classifier, parts: Sequence[DevPart], otherwise: float = 1.0) -> Calibration:
    """One temperature; and one for each text where five-fold cross-validation on dev texts finds that better.

    Args:
        model: without a text temperature.
        parts: a source each; those of fewer than ``FEWEST`` texts are left out.
        otherwise: the temperature if no source has so many.
    """
    parts = [part for part in parts if len(part.labels) >= FEWEST]
    temperature = fit_temperature([part.flat()[1:] for part in parts], otherwise)
    if sum(len(part.labels) for part in parts) < FEWEST_FOR_TEXTS:
        return Calibration(model, temperature)
    one, each = _cross_validated(parts)
    if each >= one:
        return Calibration(model, temperature, (one, each))
    weight, bias = fit_text_temperature(_divided(parts, temperature))
    adapted = Classifier(model.config.model_copy(update={"text_temperature": True})).to(model.out.weight.device).eval()
    adapted.load_state_dict(model.state_dict() | {"temperature.weight": weight, "temperature.bias": bias})
    return Calibration(adapted, temperature, (one, each))


def uncalibrated(model: Classifier) -> Classifier:
    """The same without a text temperature: what further training starts from."""
    if not model.config.text_temperature:
        return model
    plain = Classifier(model.config.model_copy(update={"text_temperature": False})).to(model.out.weight.device)
    plain.load_state_dict({k: v for k, v in model.state_dict().items() if not k.startswith("temperature.")})
    return plain.train(model.training)


def _divided(parts: Sequence[DevPart], temperature: float) -> list[DevPart]:
    return [DevPart(part.features, part.logits / temperature, part.labels) for part in parts]


def _cross_validated(parts: Sequence[DevPart]) -> tuple[float, float]:
    """Mean NLL of texts left out of the fit, sources alike: with one temperature, and with one for each text."""
    folds = [torch.randperm(len(p.labels), generator=torch.Generator().manual_seed(0)) % FOLDS for p in parts]
    losses = torch.zeros(2, dtype=torch.float64)
    for fold in range(FOLDS):
        fitted = [part.rows(fold_of != fold) for part, fold_of in zip(parts, folds, strict=True)]
        temperature = fit_temperature([part.flat()[1:] for part in fitted])
        weight, bias = fit_text_temperature(_divided(fitted, temperature))
        for part, fold_of in zip(parts, folds, strict=True):
            x, logits, labels = part.rows(fold_of == fold).flat()
            scale = torch.exp(-torch.tanh(F.linear(x, weight, bias)))
            share = float((fold_of == fold).float().mean()) / len(parts)
            for i, scaled in enumerate((logits / temperature, logits / temperature * scale)):
                losses[i] += share * F.cross_entropy(scaled, labels)
    return float(losses[0]), float(losses[1])


def accuracies(parts: Mapping[str, tuple[Tensor, Tensor]]) -> dict[str, float]:
    """Share of right answers of each source, rounded to four digits."""
    return {
        name: round(float((logits.argmax(dim=1) == labels).float().mean()), 4)
        for name, (logits, labels) in parts.items()
    }
