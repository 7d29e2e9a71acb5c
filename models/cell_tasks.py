"""What tells recurrent cells apart: small tasks, each trained in seconds, each with one number at each length.

The adding problem and the copy task ask for memory alone; gradients show how far back a loss is felt; the sentiment of a
first clause, with words of no feeling behind it, shows the same in a classifier.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import numpy as np
import torch
from pydantic import BaseModel
from torch import Tensor, nn
from torch.nn import functional as F

from models.calibration import final_logits
from models.classifier import Classifier, ClassifierConfig, Pools
from models.data import IdArray, bucketed_batches, pad, stream_batches
from models.language_model import LanguageModel, LanguageModelConfig, fused_cross_entropy
from models.precision import low_precision
from models.trunk import LAYERS, Cell, TrunkConfig, start_layer

ADDING_INPUT_STD = 0.5  # of the numbers and their markers, together
ALWAYS_ONE = 1 / 6  # mean squared error on the adding problem of one who always says 1
SOLVED = 0.01  # mean squared error below which the adding problem counts as solved
SYMBOLS, COPIED = 8, 5  # the copy task: so many different symbols, so many to remember
BLANK, GO, FIRST_SYMBOL = 0, 1, 2
BATCH = 64
CHECK_EVERY = 25  # steps between two looks at the recent losses
EVALUATED = 1000  # fresh sequences


class Outcome(BaseModel, frozen=True):
    """How a training went: numbers, and curves by name."""

    steps: int
    seconds: float
    numbers: dict[str, float]
    curves: dict[str, list[float]] = {}


def fit(
    module: nn.Module,
    loss_at: Callable[[int], Tensor],
    steps: int,
    limit_s: float,
    learning_rate: float = 2e-3,
    enough: float | None = None,
) -> tuple[int, float]:
    """Train with AdamW and clipped gradients.

    Args:
        module: trained in place.
        loss_at: the loss of step n.
        steps: at most.
        limit_s: seconds, at most; one step is made whatever it is.
        learning_rate: falls to a tenth, linearly by steps or by time.
        enough: stop when the mean loss of the last ``CHECK_EVERY`` steps is below it.

    Returns:
        Steps made and seconds taken.
    """
    optimizer = torch.optim.AdamW(module.parameters(), learning_rate, weight_decay=0.0)
    began = time.monotonic()
    recent: list[float] = []
    step = 0
    while step < steps and (not step or time.monotonic() - began < limit_s):
        done = max(step / steps, (time.monotonic() - began) / limit_s)
        for group in optimizer.param_groups:
            group["lr"] = learning_rate * (1 - 0.9 * min(1.0, done))
        loss = loss_at(step)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(module.parameters(), 1.0)
        optimizer.step()
        step += 1
        recent.append(loss.item())
        if step % CHECK_EVERY == 0:
            if enough is not None and sum(recent) / len(recent) < enough:
                break
            recent.clear()
    return step, time.monotonic() - began


# -- adding problem ----------------------------------------------------------------------------------------------------


class Adder(nn.Module):
    """A recurrent layer that reads two numbers a step and says one number at the end."""

    def __init__(self, cell: Cell, hidden_size: int) -> None:
        super().__init__()
        self.layer = LAYERS[cell](2, hidden_size, batch_first=True)
        start_layer(self.layer, ADDING_INPUT_STD)
        self.out = nn.Linear(hidden_size, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, 2) -> (B,)."""
        h, _ = self.layer(x)
        answer: Tensor = self.out(h[:, -1])[:, 0]
        return answer


def adding_batch(length: int, rows: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """The adding problem: numbers 0..1, two of them marked, one in each half; the answer is their sum.

    Returns:
        (rows, length, 2) numbers and marks, (rows,) sums.

    Source: Hochreiter & Schmidhuber 1997, Long short-term memory, experiment 4.
    """
    numbers = torch.rand(rows, length, generator=generator)
    marks = torch.zeros(rows, length)
    half = length // 2
    first = torch.randint(half, (rows,), generator=generator)
    second = half + torch.randint(length - half, (rows,), generator=generator)
    every = torch.arange(rows)
    marks[every, first] = 1
    marks[every, second] = 1
    return torch.stack([numbers, marks], dim=2), (numbers * marks).sum(dim=1)


def adding(cell: Cell, hidden_size: int, length: int, seed: int, steps: int, limit_s: float) -> Outcome:
    """Train on the adding problem; the number is the mean squared error on fresh sequences."""
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    module = Adder(cell, hidden_size)

    def loss_at(_step: int) -> Tensor:
        x, y = adding_batch(length, BATCH, generator)
        return F.mse_loss(module(x), y)

    made, seconds = fit(module, loss_at, steps, limit_s, enough=SOLVED / 4)
    with torch.no_grad():
        x, y = adding_batch(length, EVALUATED, torch.Generator().manual_seed(seed + 10_000))
        error = F.mse_loss(module(x), y).item()
    return Outcome(steps=made, seconds=seconds, numbers={"error": error, "solved": float(error < SOLVED)})


# -- copy task ---------------------------------------------------------------------------------------------------------


class Copier(nn.Module):
    """A recurrent layer over one-hot symbols that says a symbol at every step."""

    def __init__(self, cell: Cell, hidden_size: int) -> None:
        super().__init__()
        self.vocabulary = FIRST_SYMBOL + SYMBOLS
        self.layer = LAYERS[cell](self.vocabulary, hidden_size, batch_first=True)
        start_layer(self.layer, self.vocabulary**-0.5)
        self.out = nn.Linear(hidden_size, SYMBOLS)

    def forward(self, ids: Tensor) -> Tensor:
        """(B, T) -> (B, COPIED, SYMBOLS) scores at the last steps."""
        h, _ = self.layer(F.one_hot(ids, self.vocabulary).float())
        scores: Tensor = self.out(h[:, -COPIED:])
        return scores


def copy_batch(delay: int, rows: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """The copy task: symbols, ``delay`` blanks, then as many calls to repeat the symbols.

    Returns:
        (rows, COPIED + delay + COPIED) ids, (rows, COPIED) symbols 0..SYMBOLS-1.

    Source: Hochreiter & Schmidhuber 1997; in this form Arjovsky et al. 2016 (arXiv:1511.06464).
    """
    symbols = torch.randint(SYMBOLS, (rows, COPIED), generator=generator)
    blanks, calls = torch.full((rows, delay), BLANK), torch.full((rows, COPIED), GO)
    return torch.cat([symbols + FIRST_SYMBOL, blanks, calls], dim=1), symbols


def copying(cell: Cell, hidden_size: int, delay: int, seed: int, steps: int, limit_s: float) -> Outcome:
    """Train on the copy task; the number is the share of symbols said right on fresh sequences."""
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    module = Copier(cell, hidden_size)

    def loss_at(_step: int) -> Tensor:
        ids, symbols = copy_batch(delay, BATCH, generator)
        return F.cross_entropy(module(ids).flatten(0, 1), symbols.flatten())

    made, seconds = fit(module, loss_at, steps, limit_s, learning_rate=4e-3, enough=0.01)
    with torch.no_grad():
        ids, symbols = copy_batch(delay, EVALUATED, torch.Generator().manual_seed(seed + 10_000))
        right = (module(ids).argmax(dim=2) == symbols).float().mean().item()
    return Outcome(steps=made, seconds=seconds, numbers={"accuracy": right})


# -- gradients ---------------------------------------------------------------------------------------------------------


def gradient_by_distance(layer: nn.Module, x: Tensor, seed: int = 0) -> list[float]:
    """How strongly each input is felt at the end.

    Args:
        layer: a recurrent layer.
        x: (B, T, I) its inputs.
        seed: of the direction in which the last output is looked at.

    Returns:
        T numbers: the norm of the gradient of the last output with respect to the input d steps before it, d = 0 first,
        averaged over rows and divided by that at d = 0. In float64, so that small is not zero.
    """
    twin = layer.double()
    inputs = x.detach().double().requires_grad_()
    h, _ = twin(inputs)
    direction = torch.randn(h.shape[2], generator=torch.Generator().manual_seed(seed)).double()
    (gradient,) = torch.autograd.grad((h[:, -1] @ (direction / direction.norm())).sum(), inputs)
    layer.float()
    norms = gradient.norm(dim=2).mean(dim=0).flip(0)
    relative: list[float] = (norms / norms[0]).tolist()
    return relative


# -- language modelling ------------------------------------------------------------------------------------------------


class RunningText(BaseModel, frozen=True, arbitrary_types_allowed=True):
    """A stream of token ids to learn, another to be measured on, and how many words the latter has."""

    train: IdArray
    valid: IdArray
    valid_words: int
    vocab_size: int


def language_model(
    trunk: TrunkConfig, text: RunningText, seed: int, epochs: int, limit_s: float, distances: int
) -> Outcome:
    """Train a language model; perplexity on the valid stream, and how far back its gradients reach, fresh and trained."""
    torch.manual_seed(seed)
    model = LanguageModel(LanguageModelConfig(trunk=trunk))
    inputs = torch.from_numpy(text.valid[: len(text.valid) // distances * distances][: 64 * distances].astype(np.int64))
    inputs = inputs.view(-1, distances)
    fresh = gradient_by_distance(model.trunk.layers[0], model.trunk.embedding(inputs), seed)
    batches = list(stream_batches(text.train, BATCH, 64))
    carried: list[Tensor] = []

    def loss_at(step: int) -> Tensor:
        batch = batches[step % len(batches)]
        x, state = model.hidden(batch[:, :-1], None, carried[0] if step % len(batches) else None)
        carried[:] = [state.detach()]
        weight = model.trunk.embedding.weight
        return fused_cross_entropy(x.flatten(0, 1), weight, model.bias, batch[:, 1:].flatten(), low_precision("cpu"))

    steps, seconds = fit(model, loss_at, epochs * len(batches), limit_s, learning_rate=4e-3)
    nll = total_nll(model, text.valid)
    return Outcome(
        steps=steps,
        seconds=seconds,
        numbers={"word_perplexity": float(np.exp(nll / text.valid_words)), "weights": count(model)},
        curves={
            "fresh_gradient": fresh,
            "trained_gradient": gradient_by_distance(model.trunk.layers[0], model.trunk.embedding(inputs), seed),
        },
    )


@torch.no_grad()
def total_nll(model: LanguageModel, stream: IdArray) -> float:
    """Nats that a stream costs as one text: every token but the first, the state carried all the way."""
    total, state = 0.0, None
    for batch in stream_batches(stream, 1, 512):
        logits, state = model(batch[:, :-1], None, state)
        total += F.cross_entropy(logits[0], batch[0, 1:], reduction="sum").item()
    return total


# -- sentiment ---------------------------------------------------------------------------------------------------------


class LabelledText(BaseModel, frozen=True, arbitrary_types_allowed=True):
    """Encoded texts with classes 0 and 1: to learn, to be measured on, and clauses with filler to put behind them."""

    train: list[IdArray]
    train_labels: list[int]
    dev: list[IdArray]
    dev_labels: list[int]
    clauses: list[IdArray]
    clause_labels: list[int]
    filler: IdArray
    trace: IdArray


def sentiment(
    trunk: TrunkConfig,
    pools: Pools,
    text: LabelledText,
    seed: int,
    epochs: int,
    limit_s: float,
    filler_lengths: Sequence[int],
) -> Outcome:
    """Train a classifier; accuracy on dev, of a first clause behind k words of filler, and the verdict after each token."""
    torch.manual_seed(seed)
    model = Classifier(ClassifierConfig(trunk=trunk, pools=pools))
    labels = torch.tensor(text.train_labels)
    lengths = [len(ids) for ids in text.train]
    batches: list[list[int]] = []

    def deal(epoch: int) -> list[list[int]]:
        return bucketed_batches(lengths, 128, 4096, np.random.default_rng((seed, epoch)))

    per_epoch = len(deal(0))

    def loss_at(step: int) -> Tensor:
        if step % per_epoch == 0 or not batches:
            batches[:] = deal(step // per_epoch)
        batch = batches.pop()
        input_ids, row_lengths = pad([text.train[i] for i in batch])
        logits, _ = model(input_ids, row_lengths, head_dropout=(0.3, 0.0), final_only=True)
        return F.cross_entropy(logits, labels[batch])

    model.train()
    steps, seconds = fit(model, loss_at, epochs * per_epoch, limit_s)
    model.eval()
    numbers = {"accuracy": accuracy(model, text.dev, text.dev_labels), "weights": count(model)}
    remembered = [
        accuracy(model, [np.concatenate([ids, repeat(text.filler, k)]) for ids in text.clauses], text.clause_labels)
        for k in filler_lengths
    ]
    with torch.no_grad():
        every, _ = model(torch.from_numpy(text.trace).long()[None], torch.tensor([len(text.trace)]))
    verdicts: list[float] = torch.softmax(every[0], dim=1)[:, 1].tolist()
    return Outcome(
        steps=steps, seconds=seconds, numbers=numbers, curves={"after_filler": remembered, "trace": verdicts}
    )


def repeat(ids: IdArray, length: int) -> IdArray:
    """The ids over and over, ``length`` of them."""
    return np.resize(ids, length).astype(np.int32) if length else np.empty(0, np.int32)


def accuracy(model: Classifier, encoded: Sequence[IdArray], labels: Sequence[int]) -> float:
    """Mean over the two classes of the share that is right: 0.5 for one who always says the same."""
    right = (final_logits(model, encoded).argmax(dim=1) == torch.tensor(labels)).float()
    truth = torch.tensor(labels)
    return float(torch.stack([right[truth == label].mean() for label in (0, 1)]).mean())


def count(module: nn.Module) -> float:
    """Weights of a module."""
    return float(sum(p.numel() for p in module.parameters()))


# -- speed -------------------------------------------------------------------------------------------------------------


def training_rate(trunk: TrunkConfig, seconds: float, rows: int = 64, length: int = 64) -> float:
    """Tokens a second of whole training steps of a classifier (forward, backward, update), in float32."""
    torch.manual_seed(0)
    model = Classifier(ClassifierConfig(trunk=trunk))
    ids, lengths = torch.randint(trunk.vocab_size, (rows, length)), torch.full((rows,), length)
    labels = torch.randint(2, (rows,))

    def loss_at(_step: int) -> Tensor:
        logits, _ = model(ids, lengths, final_only=True)
        return F.cross_entropy(logits, labels)

    fit(model, loss_at, steps=1, limit_s=seconds)  # the first step allocates
    steps, taken = fit(model, loss_at, steps=1_000_000, limit_s=seconds)
    return steps * rows * length / taken
