"""Calibration of a classifier: the temperatures that make its probabilities mean what they say on dev texts."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from models.classifier import Classifier, TextTemperature
from models.data import IdArray, TokenTable

TEMPERATURES = np.geomspace(0.3, 5, 200)
BUSY = {"cpu": 32_000, "cuda": 256_000}  # tokens of a batch
FEWEST = 50  # dev texts of a source; fewer say nothing about a temperature
FEWEST_FOR_TEXTS = 1_000  # dev texts in all; fewer say nothing about a temperature for each text
RIDGE = 0.01  # on the weights of a text's temperature, for features of unit variance on average; dev chose one for both languages
KINDS_RIDGE = 0.001  # on the weights that tell the kinds of texts apart, for features of the same scale
FOLDS = 5
ONE, EACH, KINDS = WAYS = ("one_temperature", "text_temperature", "text_temperature_by_kinds")


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


def fit_text_temperature(parts: Sequence[DevPart], with_kinds: bool = False) -> TextTemperature:
    """That of least loss, each source counting alike; see ``RIDGE``.

    What the temperature is made of is brought to its mean and, features and kinds apart, to unit variance on average: one that is
    rarely not zero then weighs little.

    Args:
        parts: a source each.
        with_kinds: whether the sources are kinds of texts to tell apart.
    """
    flat = [tuple(x.double() if x.is_floating_point() else x for x in part.flat()) for part in parts]
    size = flat[0][0].shape[1]
    found = TextTemperature(size, len(parts) if with_kinds else 0).double().requires_grad_(False)
    if with_kinds:
        weight, bias = _kinds([x for x, _, _ in flat])
        found.kinds.weight.copy_(weight)
        found.kinds.bias.copy_(bias)
    inputs = [found.inputs(x) for x, _, _ in flat]
    mean, scale = _mean_and_scale(torch.cat(inputs), size)
    weight = torch.zeros(1, found.in_features, dtype=torch.float64, requires_grad=True)
    bias = torch.zeros(1, dtype=torch.float64, requires_grad=True)

    def loss() -> Tensor:
        losses = [
            F.cross_entropy(logits * torch.exp(-torch.tanh(F.linear((x - mean) / scale, weight, bias))), labels)
            for x, (_, logits, labels) in zip(inputs, flat, strict=True)
        ]
        return torch.stack(losses).mean() + RIDGE * weight.square().sum()

    _minimize(loss, weight, bias)
    found.weight.copy_(weight.detach() / scale)
    found.bias.copy_(bias.detach() - F.linear(mean, found.weight))
    return found.float()


def _kinds(features: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Weight (K, F) and bias (K,) of the log-odds that a text is of each of K sources, which count alike; see ``KINDS_RIDGE``."""
    kinds, size = len(features), features[0].shape[1]
    mean, scale = _mean_and_scale(torch.cat(list(features)), size)
    weight = torch.zeros(kinds, size, dtype=torch.float64, requires_grad=True)
    bias = torch.zeros(kinds, dtype=torch.float64, requires_grad=True)

    def loss() -> Tensor:
        losses = [
            F.cross_entropy(F.linear((x - mean) / scale, weight, bias), torch.full((len(x),), kind))
            for kind, x in enumerate(features)
        ]
        return torch.stack(losses).mean() + KINDS_RIDGE * weight.square().sum()

    _minimize(loss, weight, bias)
    found = (weight / scale).detach()
    return found, bias.detach() - F.linear(mean, found)


def _mean_and_scale(x: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """(N, D) -> (D,) means, and (D,) the root of the mean variance of the first ``size`` columns, and of the others."""
    blocks = [block for block in (x[:, :size], x[:, size:]) if block.shape[1]]
    scales = [block.var(dim=0).mean().sqrt().clamp(min=1e-6).expand(block.shape[1]) for block in blocks]
    return x.mean(dim=0), torch.cat(scales)


def _minimize(loss: Callable[[], Tensor], *parameters: Tensor) -> None:
    optimizer = torch.optim.LBFGS(parameters, max_iter=300, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimizer.zero_grad()
        found = loss()
        found.backward()
        return found

    optimizer.step(closure)


@dataclass(frozen=True)
class Calibration:
    """A calibrated classifier.

    Args:
        model: with a temperature for each text, if dev says that it is better, else as it was.
        temperature: what all logits of ``model`` are divided by besides.
        nll: mean negative log-likelihood of dev texts that were not fitted on, by ``WAYS`` of calibration; empty if they are too few.
    """

    model: Classifier
    temperature: float
    nll: Mapping[str, float] = field(default_factory=dict)

    def summary(self) -> dict[str, object]:
        """What ``metrics.json`` notes."""
        return {
            "temperature": round(self.temperature, 4),
            "text_temperature": self.model.config.text_temperature,
            "kinds": self.model.config.kinds,
            "cross_validated_nll": {way: round(nll, 4) for way, nll in self.nll.items()},
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
    nll = _cross_validated(parts)
    best = min(nll, key=lambda way: nll[way])
    if best == ONE:
        return Calibration(model, temperature, nll)
    found = fit_text_temperature(_divided(parts, temperature), best == KINDS)
    kinds = len(parts) if best == KINDS else 0
    config = model.config.model_copy(update={"text_temperature": True, "kinds": kinds})
    adapted = Classifier(config).to(model.out.weight.device).eval()
    adapted.load_state_dict(model.state_dict() | {f"temperature.{k}": v for k, v in found.state_dict().items()})
    return Calibration(adapted, temperature, nll)


def uncalibrated(model: Classifier) -> Classifier:
    """The same without a text temperature: what further training starts from."""
    if not model.config.text_temperature:
        return model
    plain = Classifier(model.config.model_copy(update={"text_temperature": False, "kinds": 0})).to(
        model.out.weight.device
    )
    plain.load_state_dict({k: v for k, v in model.state_dict().items() if not k.startswith("temperature.")})
    return plain.train(model.training)


def _divided(parts: Sequence[DevPart], temperature: float) -> list[DevPart]:
    return [DevPart(part.features, part.logits / temperature, part.labels) for part in parts]


def _cross_validated(parts: Sequence[DevPart]) -> dict[str, float]:
    """Mean NLL of texts left out of the fit, sources alike, by ``WAYS`` of calibration, the simplest first."""
    folds = [torch.randperm(len(p.labels), generator=torch.Generator().manual_seed(0)) % FOLDS for p in parts]
    ways = WAYS if len(parts) > 1 else WAYS[:-1]  # one source is no kind of its own
    losses = dict.fromkeys(ways, 0.0)
    for fold in range(FOLDS):
        fitted = [part.rows(fold_of != fold) for part, fold_of in zip(parts, folds, strict=True)]
        temperature = fit_temperature([part.flat()[1:] for part in fitted])
        found = {way: fit_text_temperature(_divided(fitted, temperature), way == KINDS) for way in ways if way != ONE}
        for part, fold_of in zip(parts, folds, strict=True):
            x, logits, labels = part.rows(fold_of == fold).flat()
            share = float((fold_of == fold).float().mean()) / len(parts)
            for way in ways:
                scaled = logits / temperature / (1.0 if way == ONE else found[way](x))
                losses[way] += share * float(F.cross_entropy(scaled, labels))
    return losses


def accuracies(parts: Mapping[str, tuple[Tensor, Tensor]]) -> dict[str, float]:
    """Share of right answers of each source, rounded to four digits."""
    return {
        name: round(float((logits.argmax(dim=1) == labels).float().mean()), 4)
        for name, (logits, labels) in parts.items()
    }
