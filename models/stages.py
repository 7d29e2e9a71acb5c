"""The two stages of a recipe: language modelling over running text, then classification of labelled texts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import Tensor
from torch.nn import functional as F

from models.classifier import Classifier
from models.corpora import CorpusError, Example
from models.data import IdArray, bucketed_batches, encode, pad, shuffled_stream, stream_batches
from models.language_model import LanguageModel, fused_cross_entropy
from models.loop import Run, Schedule, Stage
from models.recipe import ClassifierSection, LanguageModelSection
from models.tokenizer import END_ID, START_ID
from models.trunk import Dropouts

LANGUAGE_MODEL, CLASSIFIER = "language-model", "classifier"
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
        model.parameters(), section.learning_rate, betas=(0.9, 0.99), weight_decay=section.weight_decay
    )
    stage = Stage(run, LANGUAGE_MODEL, model, optimizer, schedule)
    dropout = Dropouts(section.row_dropout, section.dropout, section.dropout, section.dropout)

    def epoch_batches(epoch: int) -> Iterator[Tensor]:
        stream = shuffled_stream(encoded, BLOCK, np.random.default_rng((run.seed, epoch)))
        return stream_batches(stream, rows, section.bptt)

    def loss_of(batch: Tensor) -> tuple[Tensor, int]:
        ids = batch.to(run.device)
        state = stage.carried.get("state")
        if state is not None and section.reset_probability:
            state = state * (torch.rand(rows, 1, device=run.device) >= section.reset_probability)
        with torch.autocast(run.device, torch.bfloat16):
            x, state = model.hidden(ids[:, :-1], None, state, dropout)
        stage.carried["state"] = state.detach()
        targets = ids[:, 1:].flatten()
        weight, bias = model.trunk.embedding.weight, model.bias
        return fused_cross_entropy(x.flatten(0, 1), weight, bias, targets, torch.bfloat16), len(targets)

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
    """
    run.say(f"encoding {len(texts):,} documents")
    encoded = encode(tokenizer, texts)
    if run.recipe.task == "sentiment":
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
    for batch in stream_batches(stream, max(1, min(rows, len(stream) // 2)), bptt):
        ids = batch.to(device)
        logits, state = model(ids[:, :-1], None, state)
        targets = ids[:, 1:].flatten()
        total += float(F.cross_entropy(logits.flatten(0, 1).float(), targets, reduction="sum"))
        count += len(targets)
    return total / count


# -- classifier --------------------------------------------------------------------------------------------------------


def train_classifier(
    run: Run,
    section: ClassifierSection,
    model: Classifier,
    tokenizer: Tokenizer,
    examples: Sequence[Example],
    pretrained: bool,
) -> Classifier:
    """Train on labelled texts; the summary goes to ``run.finished``.

    Args:
        run: says where, how long, and with which seed.
        section: the recipe's numbers.
        model: trained in place.
        tokenizer: without special tokens.
        examples: labelled texts; those without a single token are left out.
        pretrained: whether the trunk comes from a language model, whose layers then learn more slowly.

    Returns:
        The average of the weights along the way, in eval mode: this is the trained model.

    Raises:
        CorpusError: no text has a token.
        TrainingError: the loss is no number any more.
    """
    run.say(f"encoding {len(examples):,} texts")
    both = zip(encode(tokenizer, [example.text for example in examples]), examples, strict=True)
    kept = [(ids, example) for ids, example in both if len(ids)]
    if not kept:
        raise CorpusError("no labelled text with a token in it")
    encoded = [ids for ids, _ in kept]
    labels = torch.tensor([example.label for _, example in kept])
    weights = torch.tensor(class_weights([example for _, example in kept], section.class_weights))
    lengths = [min(len(ids), section.cut_tokens) for ids in encoded]
    batches = bucketed_batches(lengths, section.max_rows, section.max_tokens, np.random.default_rng(0))
    steps = int(len(batches) * section.epochs)
    averaged = Classifier(model.config).to(run.device)
    averaged.load_state_dict(model.state_dict())
    optimizer = torch.optim.AdamW(
        layerwise(model, section.learning_rate, pretrained), betas=(0.8, 0.99), weight_decay=section.weight_decay
    )
    schedule = Schedule(steps, steps // 10, limit_s(run, CLASSIFIER))
    stage = Stage(run, CLASSIFIER, model, optimizer, schedule, averaged)
    dropout = Dropouts(section.row_dropout, section.dropout, section.dropout, 0.0)

    def epoch_batches(epoch: int) -> Iterator[tuple[list[int], int]]:
        rng = np.random.default_rng((run.seed, epoch))
        for batch in bucketed_batches(lengths, section.max_rows, section.max_tokens, rng):
            yield batch, epoch

    def loss_of(item: tuple[list[int], int]) -> tuple[Tensor, int]:
        batch, epoch = item
        rows = [cut(encoded[i], section.cut_tokens, keep_end=(i + epoch) % 2 == 0) for i in batch]
        input_ids, row_lengths = (tensor.to(run.device) for tensor in pad(rows))
        with torch.autocast(run.device, torch.bfloat16):
            logits, _ = model(input_ids, row_lengths, None, dropout, section.head_dropout, final_only=True)
        expected, weight = labels[batch].to(run.device), weights[batch].to(run.device)
        losses = F.cross_entropy(logits.float(), expected, reduction="none", label_smoothing=section.label_smoothing)
        return (losses * weight).sum() / weight.sum(), sum(map(len, rows))

    model.train()
    stage.train(epoch_batches, loss_of, section.clip, section.ema)
    return averaged.eval()


def cut(ids: IdArray, most: int, keep_end: bool) -> IdArray:
    """At most ``most`` ids: the last ones, or the first."""
    if len(ids) <= most:
        return ids
    return ids[-most:] if keep_end else ids[:most]


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
