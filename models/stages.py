"""The stages of a recipe: language modelling over running text, then classification of labelled texts, twice if teachers help."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import Tensor
from torch.nn import functional as F

from models.classifier import Classifier
from models.corpora import CorpusError, Example
from models.data import IdArray, TokenTable, bucketed_batches, encode, shuffled_stream, stream_batches
from models.language_model import LanguageModel, fused_cross_entropy
from models.loop import Run, Schedule, Stage
from models.precision import autocast, low_precision
from models.recipe import ClassifierSection, LanguageModelSection
from models.tokenizer import END_ID, START_ID
from models.trunk import Dropouts
from models.typed_texts import as_typed

LANGUAGE_MODEL, CLASSIFIER, DISTILLATION = "language-model", "classifier", "distillation"
WATCHED_TOKENS = 200_000  # of the training text, held back to watch over a language model
BLOCK = 50  # documents that stay together when the stream is shuffled


def limit_s(run: Run, stage: str, share: float = 1.0) -> float:
    """Seconds a stage may take in all, what a killed run has spent on it included; ``share`` of what the run has left."""
    before = run.saved.elapsed_s if run.saved is not None and run.saved.stage == stage else 0.0
    return (before + run.left_s) * share


# -- language model ----------------------------------------------------------------------------------------------------


def train_language_model(
    run: Run, section: LanguageModelSection, model: LanguageModel, tokenizer: Tokenizer, texts: Sequence[str]
) -> None:
    """Train on running text, state carried from batch to batch; the summary goes to ``run.finished``.

    Args:
        run: says where, how long, and with which seed.
        section: the recipe's numbers.
        model: trained in place, left in eval mode.
        tokenizer: with special tokens if the recipe's task is a language model.
        texts: documents, in order.

    Raises:
        CorpusError: too little text for a single batch.
        TrainingError: the loss is no number any more.
    """
    encoded, watched = _documents(run, tokenizer, texts)
    tokens = sum(map(len, encoded))
    rows = max(1, min(section.rows, tokens // section.bptt))
    if tokens < 2 * rows:
        raise CorpusError(f"{tokens} tokens of running text are too few for a language model")
    steps = int(tokens // (rows * section.bptt) * section.epochs)
    share = section.share_of_time if run.recipe.task == "sentiment" else 1.0
    schedule = Schedule(steps, section.warmup_steps, limit_s(run, LANGUAGE_MODEL, share))
    run.say(f"{tokens:,} tokens, {schedule.total_steps:,} steps")
    optimizer = torch.optim.AdamW(
        model.parameters(),
        section.learning_rate,
        betas=(0.9, 0.99),
        weight_decay=section.weight_decay,
        fused=run.device == "cuda",
    )
    stage = Stage(run, LANGUAGE_MODEL, model, optimizer, schedule)
    dropout = Dropouts(
        section.row_dropout, section.dropout, section.dropout, section.dropout, section.recurrent_dropout
    )

    def epoch_batches(epoch: int) -> Iterator[Tensor]:
        rng = np.random.default_rng((run.seed, epoch))
        if run.recipe.data.closed is None:
            stream = shuffled_stream(encoded, BLOCK, rng)
        else:  # in order, cut at other places than the epoch before
            stream = np.roll(np.concatenate(encoded), -int(rng.integers(section.bptt)))
        return stream_batches(stream, rows, section.bptt, run.device)

    def loss_of(ids: Tensor) -> tuple[Tensor, int]:
        state = stage.carried.get("state")
        if state is not None and section.reset_probability:
            state = state * (torch.rand(rows, 1, device=run.device) >= section.reset_probability)
        with autocast(run.device):
            x, state = model.hidden(ids[:, :-1], None, state, dropout)
        stage.carried["state"] = state.detach()
        targets = ids[:, 1:].flatten()
        weight, bias = model.trunk.embedding.weight, model.bias
        return fused_cross_entropy(x.flatten(0, 1), weight, bias, targets, low_precision(run.device)), len(targets)

    model.train()
    stage.train(epoch_batches, loss_of, section.clip)
    model.eval()
    if watched:
        nll = stream_nll(model, np.concatenate(watched), run.device)
        run.finished[LANGUAGE_MODEL]["watched_nll_per_token"] = nll
        run.say(f"nll per token on watched documents {nll:.4f}")


def _documents(run: Run, tokenizer: Tokenizer, texts: Sequence[str]) -> tuple[list[IdArray], list[IdArray]]:
    """Documents to train on, and some to watch over the stage; the dev parts stay for the evaluation.

    Before a classifier's own stage nothing is watched, and no special tokens are added: the classifier sees none.
    Nor are they for a benchmark, whose lines bring their own and which has a valid part.
    """
    run.say(f"encoding {len(texts):,} documents")
    encoded = encode(tokenizer, texts, run.recipe.model.backward)
    if run.recipe.task == "sentiment" or run.recipe.data.closed is not None:
        return encoded, []
    encoded = [np.concatenate([[START_ID], ids, [END_ID]]).astype(np.int32) for ids in encoded]
    most = min(WATCHED_TOKENS, sum(map(len, encoded)) // 50)
    order = np.random.default_rng(run.seed).permutation(len(encoded)).tolist()
    watched: list[IdArray] = []
    while sum(map(len, watched)) < most:
        watched.append(encoded[order[len(watched)]])
    skip = set(order[: len(watched)])
    return [ids for index, ids in enumerate(encoded) if index not in skip], watched


@torch.no_grad()
def stream_nll(model: LanguageModel, stream: IdArray, device: str = "cpu", rows: int = 16, bptt: int = 128) -> float:
    """Mean negative log-likelihood per token along parallel streams, state carried; nats."""
    total, count, state = 0.0, 0, None
    for ids in stream_batches(stream, max(1, min(rows, len(stream) // 2)), bptt, device):
        logits, state = model(ids[:, :-1], None, state)
        targets = ids[:, 1:].flatten()
        total += float(F.cross_entropy(logits.flatten(0, 1).float(), targets, reduction="sum"))
        count += len(targets)
    return total / count


# -- classifier --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Lessons:
    """What a classifier learns from: texts with the probabilities it should give them.

    Args:
        encoded: token ids of each of N texts, none of them empty.
        targets: (N, C) probabilities of the classes.
        weights: (N,) how much each text counts.
    """

    encoded: list[IdArray]
    targets: Tensor
    weights: Tensor


def lessons_of(
    run: Run, tokenizer: Tokenizer, texts: Sequence[str], targets: Tensor, weights: Sequence[float]
) -> Lessons:
    """Encode texts as people may type them and the recipe's model reads them; those without a single token are left out.

    Raises:
        CorpusError: no text has a token.
    """
    run.say(f"encoding {len(texts):,} texts")
    data = run.recipe.data
    typed = as_typed(texts, data.unmarked_share, data.mistyped_share, run.seed)
    encoded = encode(tokenizer, typed, run.recipe.model.backward)
    kept = [i for i, ids in enumerate(encoded) if len(ids)]
    if not kept:
        raise CorpusError("no labelled text with a token in it")
    return Lessons([encoded[i] for i in kept], targets[kept], torch.tensor(weights)[kept])


def train_classifier(
    run: Run,
    name: str,
    section: ClassifierSection,
    model: Classifier,
    lessons: Lessons,
    pretrained: bool,
    share_of_time: float = 1.0,
) -> Classifier:
    """Train on labelled texts, or on what teachers say of texts; the summary goes to ``run.finished``.

    Args:
        run: says where, how long, and with which seed.
        name: of the stage.
        section: the recipe's numbers.
        model: trained in place.
        lessons: what to learn.
        pretrained: whether the trunk has been trained before: its layers then learn more slowly.
        share_of_time: of what the run has left.

    Returns:
        The average of the weights along the way, in eval mode: this is the trained model.

    Raises:
        TrainingError: the loss is no number any more.
    """
    device = run.device
    table = TokenTable(lessons.encoded, device)
    targets, weights = lessons.targets.to(device), lessons.weights.to(device)
    lengths = np.minimum(table.lengths, section.cut_tokens).tolist()
    steps = int(
        len(bucketed_batches(lengths, section.max_rows, section.max_tokens, np.random.default_rng(0))) * section.epochs
    )
    averaged = Classifier(model.config).to(device)
    averaged.load_state_dict(model.state_dict())
    optimizer = torch.optim.AdamW(
        layerwise(model, section.learning_rate, pretrained),
        betas=(0.8, 0.99),
        weight_decay=section.weight_decay,
        fused=device == "cuda",
    )
    schedule = Schedule(steps, steps // 10, limit_s(run, name, share_of_time))
    stage = Stage(run, name, model, optimizer, schedule, averaged)
    dropout = Dropouts(section.row_dropout, section.dropout, section.dropout, 0.0, section.recurrent_dropout)

    def epoch_batches(epoch: int) -> Iterator[tuple[list[int], int]]:
        rng = np.random.default_rng((run.seed, epoch))
        for batch in bucketed_batches(lengths, section.max_rows, section.max_tokens, rng):
            yield batch, epoch

    def loss_of(item: tuple[list[int], int]) -> tuple[Tensor, int]:
        batch, epoch = item
        input_ids, row_lengths, tokens = table.batch(batch, section.cut_tokens, [(i + epoch) % 2 == 0 for i in batch])
        with autocast(device):
            logits, _ = model(input_ids, row_lengths, None, dropout, section.head_dropout, final_only=True)
        which = torch.tensor(batch).to(device, non_blocking=True)
        expected, weight = targets[which], weights[which]
        losses = F.cross_entropy(logits.float(), expected, reduction="none", label_smoothing=section.label_smoothing)
        return (losses * weight).sum() / weight.sum(), tokens

    model.train()
    stage.train(epoch_batches, loss_of, section.clip, section.ema)
    return averaged.eval()


def targets_of(examples: Sequence[Example], classes: int) -> Tensor:
    """(N, C) probabilities: all on the label, or what raters gave."""
    targets = F.one_hot(torch.tensor([example.label for example in examples]), classes).float()
    for row, example in zip(targets, examples, strict=True):
        if example.positive is not None:
            row[:] = torch.tensor([1 - example.positive, example.positive])
    return targets


def class_weights(examples: Sequence[Example], sources: Sequence[str]) -> list[float]:
    """Weights n / (2 n_class) within each of the sources, clipped to 0.3..4: there a lopsided corpus does not become a prior.

    Examples of other sources weigh 1: what is likelier there is likelier among the users' texts, too.
    """
    counts: dict[tuple[str, int], int] = {}
    totals: dict[str, int] = {}
    for e in examples:
        counts[e.source, e.label] = counts.get((e.source, e.label), 0) + 1
        totals[e.source] = totals.get(e.source, 0) + 1
    return [
        min(4.0, max(0.3, totals[e.source] / (2 * counts[e.source, e.label]))) if e.source in sources else 1.0
        for e in examples
    ]


def layerwise(model: Classifier, rate: float, pretrained: bool) -> list[dict[str, Any]]:
    """Parameter groups; after a language-model stage each layer below the head learns half as fast as the one above.

    Source: discriminative fine-tuning, Howard & Ruder 2018 (arXiv:1801.06146).
    """
    head = [p for name, p in model.named_parameters() if not name.startswith("trunk.")]
    groups: list[dict[str, Any]] = [{"params": head, "lr": rate}]
    for layer in reversed([model.trunk.embedding, *model.trunk.layers]):
        rate = rate / 2 if pretrained else rate
        groups.append({"params": list(layer.parameters()), "lr": rate})
    return groups
