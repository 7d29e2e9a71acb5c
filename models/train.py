"""Recipe and data -> checkpoint: the language-model stage, the classifier stage, calibration; seeded, bounded in time, resumable."""

from __future__ import annotations

import json
import math
import platform
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer
from torch import Tensor, nn

from models.checkpoint import METRICS_FILE, CheckpointConfig, DataUse, save_checkpoint, write_json
from models.classifier import Classifier, ClassifierConfig
from models.corpora import (
    OPEN_TEXT,
    SENTIMENT,
    Example,
    documents,
    fingerprint,
    held_out_fingerprints,
    labelled,
    own_examples,
    read_rows,
    training_examples,
)
from models.data import bucketed_batches, pad, shuffled_stream, stream_batches
from models.language_model import LanguageModel, LanguageModelConfig, fused_cross_entropy
from models.negation import negation_examples
from models.recipe import ClassifierSection, LanguageModelSection, Recipe
from models.tokenizer import END_ID, START_ID, train_tokenizer
from models.trunk import Dropouts, TrunkConfig

RESUME_WEIGHTS, RESUME_STATE, STAGE_TOKENIZER = "resume.safetensors", "resume.json", "tokenizer.json"
SAVE_EVERY_S = 60.0
LOG_EVERY_S = 10.0
VALIDATION_TOKENS = 200_000


@dataclass
class Run:
    """What a training run was asked to do, and where it writes."""

    recipe: Recipe
    data: Path | None
    out: Path
    seed: int = 0
    device: str = "cpu"
    max_minutes: float = math.inf
    own_texts: Path | None = None
    console: Console = field(default_factory=lambda: Console(stderr=True))

    def say(self, message: str) -> None:
        """One line about the run, for people."""
        self.console.print(f"{time.strftime('%H:%M:%S')} {message}", highlight=False)


class Schedule:
    """Learning rate: linear warm-up, then a cosine to 1 %, driven by steps or by time, whichever is further on.

    A run that is cut by its time limit so ends with the same small rate as one that finishes.
    """

    def __init__(self, total_steps: int, warmup_steps: int, limit_s: float) -> None:
        self.total_steps, self.warmup_steps, self.limit_s = total_steps, warmup_steps, limit_s

    def progress(self, step: int, elapsed_s: float) -> float:
        """0 at the start, 1 when the stage is over."""
        return min(1.0, max(step / max(1, self.total_steps), elapsed_s / self.limit_s))

    def factor(self, step: int, elapsed_s: float) -> float:
        """What the learning rates are multiplied by."""
        warm = min(1.0, (step + 1) / max(1, self.warmup_steps))
        return warm * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * self.progress(step, elapsed_s))))


class Stage:
    """One stage's loop: steps its module, logs, saves what a killed run needs to go on, and stops in time."""

    def __init__(
        self,
        run: Run,
        name: str,
        module: nn.Module,
        optimizer: torch.optim.Optimizer,
        schedule: Schedule,
        ema: nn.Module | None = None,
    ) -> None:
        self.run, self.name, self.module, self.optimizer, self.schedule, self.ema = (
            run,
            name,
            module,
            optimizer,
            schedule,
            ema,
        )
        self.step = 0
        self.elapsed_s = 0.0
        self.tokens = 0
        self.curve: list[dict[str, float]] = []
        self.base_rates = [group["lr"] for group in optimizer.param_groups]

    def train(
        self,
        epoch_batches: Callable[[int], Iterator[Any]],
        loss_of: Callable[[Any], tuple[Tensor, int]],
        clip: float,
        ema_decay: float = 0.0,
    ) -> None:
        """Go through epochs until the schedule is done.

        Args:
            epoch_batches: batches of an epoch, the same for the same number (so a resumed run can skip to its place).
            loss_of: (loss, tokens read) of a batch.
            clip: gradient norm.
            ema_decay: of the averaged copy, if there is one.
        """
        self._resume()
        seen, epoch = 0, 0
        began, logged, saved = time.monotonic() - self.elapsed_s, time.monotonic(), time.monotonic()
        window_loss, window_tokens = 0.0, 0
        parameters = [p for p in self.module.parameters() if p.requires_grad]
        with Progress(
            TextColumn(self.name),
            BarColumn(),
            TextColumn("{task.fields[line]}"),
            TimeElapsedColumn(),
            console=self.run.console,
            disable=not self.run.console.is_terminal,
        ) as bar:
            task = bar.add_task(self.name, total=1.0, line="")
            while self.schedule.progress(self.step, self.elapsed_s) < 1:
                for batch in epoch_batches(epoch):
                    seen += 1
                    if seen <= self.step:
                        continue
                    factor = self.schedule.factor(self.step, self.elapsed_s)
                    for group, rate in zip(self.optimizer.param_groups, self.base_rates, strict=True):
                        group["lr"] = rate * factor
                    loss, tokens = loss_of(batch)
                    loss.backward()  # type: ignore[no-untyped-call]
                    nn.utils.clip_grad_norm_(parameters, clip)
                    self.optimizer.step()
                    self.optimizer.zero_grad(set_to_none=True)
                    if self.ema is not None:
                        _average(self.ema, self.module, min(ema_decay, (1 + self.step) / (10 + self.step)))
                    self.step += 1
                    self.tokens += tokens
                    window_loss, window_tokens = window_loss + float(loss.detach()) * tokens, window_tokens + tokens
                    now = time.monotonic()
                    self.elapsed_s = now - began
                    if now - logged >= LOG_EVERY_S or self.step == 1:
                        rate_per_s = window_tokens / max(now - logged, 1e-9)
                        done = self.schedule.progress(self.step, self.elapsed_s)
                        line = f"{done:6.1%} step {self.step} loss {window_loss / window_tokens:.4f} {rate_per_s:,.0f} tokens/s"
                        bar.update(task, completed=done, line=line)
                        if not self.run.console.is_terminal:
                            self.run.say(f"{self.name} {line}")
                        self.curve.append(
                            {
                                "minutes": round(self.elapsed_s / 60, 2),
                                "step": self.step,
                                "loss": round(window_loss / window_tokens, 4),
                            }
                        )
                        logged, window_loss, window_tokens = now, 0.0, 0
                    if now - saved >= SAVE_EVERY_S:
                        self.save()
                        saved = now
                    if self.schedule.progress(self.step, self.elapsed_s) >= 1:
                        break
                epoch += 1
        self.save()

    def summary(self) -> dict[str, Any]:
        """For metrics.json."""
        return {
            "steps": self.step,
            "tokens": self.tokens,
            "minutes": round(self.elapsed_s / 60, 2),
            "curve": self.curve[:: max(1, len(self.curve) // 50)],
        }

    def save(self) -> None:
        """Write module, averaged copy, optimizer and counters, each whole or not at all."""
        tensors = {f"module.{k}": v for k, v in self.module.state_dict().items()}
        if self.ema is not None:
            tensors |= {f"ema.{k}": v for k, v in self.ema.state_dict().items()}
        for index, moments in self.optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{index}.{k}": torch.as_tensor(v) for k, v in moments.items()}
        folder = self.run.out
        partial = folder / (RESUME_WEIGHTS + ".partial")
        save_file(
            {k: v.detach().cpu().contiguous() for k, v in tensors.items()},
            partial,
            {"stage": self.name, "step": str(self.step)},
        )
        partial.replace(folder / RESUME_WEIGHTS)
        counters = {
            "stage": self.name,
            "step": self.step,
            "elapsed_s": self.elapsed_s,
            "tokens": self.tokens,
            "curve": self.curve,
        }
        write_json(
            folder / RESUME_STATE, counters | {"recipe": self.run.recipe.model_dump(mode="json"), "seed": self.run.seed}
        )

    def _resume(self) -> None:
        state = resume_state(self.run)
        if state is None or state["stage"] != self.name:
            return
        tensors = load_file(self.run.out / RESUME_WEIGHTS, device=self.run.device)
        for prefix, module in (("module.", self.module), ("ema.", self.ema)):
            if module is not None:
                module.load_state_dict({k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)})
        moments: dict[int, dict[str, Tensor]] = {}
        for key, value in tensors.items():
            if key.startswith("optimizer."):
                _, index, name = key.split(".")
                moments.setdefault(int(index), {})[name] = value
        document = self.optimizer.state_dict()
        self.optimizer.load_state_dict({"state": moments, "param_groups": document["param_groups"]})
        self.step, self.elapsed_s, self.tokens, self.curve = (
            state["step"],
            state["elapsed_s"],
            state["tokens"],
            state["curve"],
        )
        self.run.say(f"{self.name}: going on from step {self.step}, {self.elapsed_s / 60:.1f} minutes in")


def resume_state(run: Run) -> dict[str, Any] | None:
    """What a killed run left behind, if it was of this very recipe and seed."""
    path = run.out / RESUME_STATE
    if not path.is_file() or not (run.out / RESUME_WEIGHTS).is_file():
        return None
    state: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    same = state["recipe"] == run.recipe.model_dump(mode="json") and state["seed"] == run.seed
    return state if same else None


def train(run: Run) -> dict[str, Any]:
    """Train what the recipe says, write the checkpoint into ``run.out``, and return the metrics written beside it."""
    run.out.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(run.seed)
    recipe = run.recipe
    began = time.monotonic()
    examples, dev, used = _labelled_data(run)
    texts = _running_text(run, examples)
    tokenizer = _tokenizer(run, examples, texts)
    trunk = TrunkConfig(
        vocab_size=tokenizer.get_vocab_size(),
        **recipe.model.model_dump(include={"cell", "embedding_dim", "hidden_size", "num_layers"}),
    )
    metrics: dict[str, Any] = {
        "recipe": recipe.model_dump(mode="json"),
        "seed": run.seed,
        "device": run.device,
        "machine": platform.machine(),
        "torch": torch.__version__,
        "stages": {},
    }
    used = [*used, *(_text_use(name) for name in recipe.data.text)]
    state = resume_state(run)
    language_model = None
    if recipe.language_model is not None:
        language_model = LanguageModel(LanguageModelConfig(trunk=trunk)).to(run.device)
        if state is None or state["stage"] == "language-model":
            metrics["stages"]["language-model"] = _language_model_stage(
                run, recipe.language_model, language_model, tokenizer, texts
            )
    if recipe.task == "language-model":
        assert language_model is not None
        config = CheckpointConfig(
            name=recipe.name,
            task="language-model",
            language=recipe.language,
            language_model=language_model.config,
            training_data=tuple(used),
        )
        save_checkpoint(run.out, config, language_model, tokenizer)
    else:
        assert recipe.classifier is not None
        classifier = Classifier(
            ClassifierConfig(
                trunk=trunk, pools=recipe.model.pools, head_size=recipe.model.head_size, labels=recipe.labels
            )
        ).to(run.device)
        if language_model is not None:
            classifier.trunk.load_state_dict(language_model.trunk.state_dict())
        averaged, summary = _classifier_stage(
            run, recipe.classifier, classifier, tokenizer, examples, language_model is not None
        )
        temperature, dev_metrics = _calibrate(run, averaged, tokenizer, dev)
        metrics["stages"]["classifier"] = summary | {"dev": dev_metrics}
        config = CheckpointConfig(
            name=recipe.name,
            task="sentiment",
            language=recipe.language,
            classifier=averaged.config,
            training_data=tuple(used),
            temperature=temperature,
        )
        save_checkpoint(run.out, config, averaged, tokenizer)
    metrics["minutes"] = round((time.monotonic() - began) / 60, 2)
    write_json(run.out / METRICS_FILE, metrics)
    for name in (RESUME_WEIGHTS, RESUME_STATE):
        (run.out / name).unlink(missing_ok=True)
    run.say(f"wrote {run.out}")
    return metrics


# -- data --------------------------------------------------------------------------------------------------------------


def _labelled_data(run: Run) -> tuple[list[Example], dict[str, list[Example]], list[DataUse]]:
    """Training examples, dev examples by source, and what was used."""
    recipe = run.recipe
    if recipe.task != "sentiment":
        return [], {}, []
    if run.own_texts is not None:
        everything = own_examples(run.own_texts, recipe.labels)
        order = np.random.default_rng(run.seed).permutation(len(everything))
        held = max(1, len(everything) // 10)
        dev = {run.own_texts.stem: [everything[i] for i in order[:held]]}
        examples = [everything[i] for i in order[held:]]
        used = [DataUse(name=run.own_texts.stem, licence="the owner's", source=run.own_texts.name, rows=len(examples))]
        return examples, dev, used
    data = _data_folder(run)
    examples, used = training_examples(data, recipe.data.sentiment)
    dev = {
        name: labelled(data, name, "dev")
        for name in recipe.data.sentiment
        if SENTIMENT[name].files.keys() & {"dev", "all"}
    }
    repeated = [e for e in examples for _ in range(recipe.data.repeat.get(e.source, 1) - 1)]
    examples += repeated
    if recipe.data.negation_share:
        count = int(len(examples) * recipe.data.negation_share)
        examples += [
            Example(text, label, "negation templates")
            for text, label in negation_examples(recipe.language, count, run.seed)
        ]
        used.append(DataUse(name="negation templates", licence="Apache-2.0", source="models/negation.py", rows=count))
    return examples, {name: rows for name, rows in dev.items() if rows}, used


def _data_folder(run: Run) -> Path:
    if run.data is None or not run.data.is_dir():
        raise FileNotFoundError(f"the recipe {run.recipe.name} needs the corpora folder: --data DIR")
    return run.data


def _running_text(run: Run, examples: Sequence[Example]) -> list[str]:
    """Documents for the language-model stage, in order; lines of a document are joined by newlines."""
    recipe = run.recipe
    if recipe.language_model is None:
        return []
    texts = ["\n".join(lines) for name in recipe.data.text for lines in documents(_data_folder(run), name, "train")]
    if recipe.data.unlabelled:
        data = _data_folder(run)
        held_out = held_out_fingerprints(data, recipe.language)
        for file in recipe.data.unlabelled:
            texts += [row["text"] for row in read_rows(data / file) if fingerprint(row["text"]) not in held_out]
    texts += [example.text for example in examples]
    return texts


def _text_use(name: str) -> DataUse:
    corpus = OPEN_TEXT[name]
    return DataUse(name=name, licence=corpus.licence, source=corpus.source, citation=corpus.citation, rows=0)


def _tokenizer(run: Run, examples: Sequence[Example], texts: Sequence[str]) -> Tokenizer:
    """The one a killed run has left, or a new one."""
    path = run.out / STAGE_TOKENIZER
    if resume_state(run) is not None and path.is_file():
        return Tokenizer.from_str(path.read_text(encoding="utf-8"))
    recipe = run.recipe
    corpus = list(texts) or [example.text for example in examples]
    if len(corpus) > recipe.tokenizer.max_texts:
        drawn = np.random.default_rng(run.seed).choice(len(corpus), recipe.tokenizer.max_texts, replace=False)
        corpus = [corpus[i] for i in sorted(drawn)]
    run.say(f"training the tokenizer on {len(corpus):,} texts")
    is_lm = recipe.task == "language-model"
    tokenizer = train_tokenizer(
        recipe.language, corpus, recipe.tokenizer.vocab_size, lowercase=not is_lm, specials=is_lm
    )
    tokenizer.save(str(path))
    return tokenizer


def _encode(tokenizer: Tokenizer, texts: Sequence[str]) -> list[np.ndarray]:
    encoded: list[np.ndarray] = []
    for start in range(0, len(texts), 2048):
        encoded += [np.array(e.ids, dtype=np.int32) for e in tokenizer.encode_batch(list(texts[start : start + 2048]))]
    return encoded


# -- the language-model stage ------------------------------------------------------------------------------------------


def _language_model_stage(
    run: Run, section: LanguageModelSection, model: LanguageModel, tokenizer: Tokenizer, texts: Sequence[str]
) -> dict[str, Any]:
    run.say("encoding")
    is_lm = run.recipe.task == "language-model"
    before, after = ([START_ID], [END_ID]) if is_lm else ([], [])
    encoded = [np.concatenate([before, ids, after]).astype(np.int32) for ids in _encode(tokenizer, texts)]
    order = np.random.default_rng(run.seed)
    if is_lm:  # a share of the training documents watches over the stage; the dev parts stay for the evaluation
        chosen = order.permutation(len(encoded))
        watched, taken = [], 0
        while taken < min(VALIDATION_TOKENS, sum(map(len, encoded)) // 50):
            watched.append(encoded[chosen[len(watched)]])
            taken += len(watched[-1])
        skip = set(chosen[: len(watched)].tolist())
        encoded = [ids for index, ids in enumerate(encoded) if index not in skip]
    else:
        watched = []
    tokens = sum(map(len, encoded))
    steps_per_epoch = tokens // (section.rows * section.bptt)
    limit_s = run.max_minutes * 60 * (section.share_of_time if run.recipe.task == "sentiment" else 1)
    schedule = Schedule(int(steps_per_epoch * section.epochs), section.warmup_steps, limit_s)
    run.say(f"{tokens:,} tokens, {schedule.total_steps:,} steps")
    optimizer = torch.optim.AdamW(
        model.parameters(), section.learning_rate, betas=(0.9, 0.99), weight_decay=section.weight_decay
    )
    stage = Stage(run, "language-model", model, optimizer, schedule)
    dropout = Dropouts(section.row_dropout, section.dropout, section.dropout, section.dropout)
    carried: dict[str, Tensor] = {}
    generator = torch.Generator().manual_seed(run.seed)

    def epoch_batches(epoch: int) -> Iterator[Tensor]:
        stream = shuffled_stream(encoded, 50, np.random.default_rng((run.seed, epoch)))
        return stream_batches(stream, section.rows, section.bptt)

    def loss_of(batch: Tensor) -> tuple[Tensor, int]:
        batch = batch.to(run.device)
        state = carried.get("state")
        if state is not None and section.reset_probability:
            state = state * (torch.rand(len(state), 1, generator=generator) >= section.reset_probability).to(state)
        with torch.autocast(run.device, torch.bfloat16):
            x, state = model.hidden(batch[:, :-1], None, state, dropout)
        carried["state"] = state.detach()
        targets = batch[:, 1:].flatten()
        return fused_cross_entropy(
            x.flatten(0, 1), model.trunk.embedding.weight, model.bias, targets, torch.bfloat16
        ), len(targets)

    model.train()
    stage.train(epoch_batches, loss_of, section.clip)
    model.eval()
    summary = stage.summary()
    if watched:
        summary["watched_nll_per_token"] = _stream_nll(model, np.concatenate(watched), run.device)
        run.say(f"nll per token on watched documents {summary['watched_nll_per_token']:.4f}")
    return summary


@torch.no_grad()
def _stream_nll(model: LanguageModel, stream: np.ndarray, device: str) -> float:
    total, count, state = 0.0, 0, None
    for batch in stream_batches(stream, 16, 128):
        batch = batch.to(device)
        logits, state = model(batch[:, :-1], None, state)
        targets = batch[:, 1:].flatten()
        total += float(nn.functional.cross_entropy(logits.flatten(0, 1).float(), targets, reduction="sum"))
        count += len(targets)
    return total / count


# -- the classifier stage ----------------------------------------------------------------------------------------------


def _classifier_stage(
    run: Run,
    section: ClassifierSection,
    model: Classifier,
    tokenizer: Tokenizer,
    examples: Sequence[Example],
    pretrained: bool,
) -> tuple[Classifier, dict[str, Any]]:
    run.say(f"encoding {len(examples):,} texts")
    encoded = _encode(tokenizer, [example.text for example in examples])
    kept = [index for index, ids in enumerate(encoded) if len(ids)]
    encoded = [encoded[i] for i in kept]
    labels = torch.tensor([examples[i].label for i in kept])
    weights = torch.tensor(_class_weights([examples[i] for i in kept]) if section.class_weights else [1.0] * len(kept))
    lengths = [min(len(ids), section.cut_tokens) for ids in encoded]
    first = bucketed_batches(lengths, section.max_rows, section.max_tokens, np.random.default_rng(0))
    share = run.recipe.language_model.share_of_time if pretrained and run.recipe.language_model else 0.0
    total_steps = int(len(first) * section.epochs)
    schedule = Schedule(total_steps, max(1, total_steps // 10), run.max_minutes * 60 * (1 - share if share < 1 else 1))
    averaged = Classifier(model.config).to(run.device)
    averaged.load_state_dict(model.state_dict())
    optimizer = torch.optim.AdamW(
        _layerwise(model, section.learning_rate, pretrained), betas=(0.8, 0.99), weight_decay=section.weight_decay
    )
    stage = Stage(run, "classifier", model, optimizer, schedule, averaged)
    dropout = Dropouts(section.row_dropout, section.dropout, section.dropout, 0.0)

    def epoch_batches(epoch: int) -> Iterator[tuple[list[int], int]]:
        for batch in bucketed_batches(
            lengths, section.max_rows, section.max_tokens, np.random.default_rng((run.seed, epoch))
        ):
            yield batch, epoch

    def loss_of(item: tuple[list[int], int]) -> tuple[Tensor, int]:
        batch, epoch = item
        rows = [_cut(encoded[i], section.cut_tokens, keep_end=(i + epoch) % 2 == 0) for i in batch]
        input_ids, row_lengths = pad([row.tolist() for row in rows])
        with torch.autocast(run.device, torch.bfloat16):
            logits, _ = model(
                input_ids.to(run.device),
                row_lengths.to(run.device),
                None,
                dropout,
                section.head_dropout,
                final_only=True,
            )
        losses = nn.functional.cross_entropy(
            logits.float(), labels[batch].to(run.device), reduction="none", label_smoothing=section.label_smoothing
        )
        weight = weights[batch].to(run.device)
        return (losses * weight).sum() / weight.sum(), int(row_lengths.sum())

    model.train()
    stage.train(epoch_batches, loss_of, section.clip, section.ema)
    return averaged.eval(), stage.summary()


def _cut(ids: np.ndarray, most: int, keep_end: bool) -> np.ndarray:
    return ids if len(ids) <= most else ids[-most:] if keep_end else ids[:most]


def _class_weights(examples: Sequence[Example]) -> list[float]:
    """n / (2 n_class) within each source, clipped to 0.3..4, so that a lopsided corpus does not become a prior."""
    counts: dict[tuple[str, int], int] = {}
    totals: dict[str, int] = {}
    for e in examples:
        counts[e.source, e.label] = counts.get((e.source, e.label), 0) + 1
        totals[e.source] = totals.get(e.source, 0) + 1
    return [min(4.0, max(0.3, totals[e.source] / (2 * counts[e.source, e.label]))) for e in examples]


def _layerwise(model: Classifier, rate: float, pretrained: bool) -> list[dict[str, Any]]:
    """Parameter groups; after a language-model stage each layer below the head learns half as fast as the one above."""
    head = [p for name, p in model.named_parameters() if not name.startswith("trunk.")]
    groups: list[dict[str, Any]] = [{"params": head, "lr": rate}]
    for layer in reversed([model.trunk.embedding, *model.trunk.layers]):
        rate = rate / 2 if pretrained else rate
        groups.append({"params": list(layer.parameters()), "lr": rate})
    return groups


@torch.no_grad()
def _average(averaged: nn.Module, module: nn.Module, decay: float) -> None:
    for into, value in zip(averaged.parameters(), module.parameters(), strict=True):
        into.lerp_(value, 1 - decay)


# -- calibration -------------------------------------------------------------------------------------------------------


@torch.no_grad()
def final_logits(
    model: Classifier, encoded: Sequence[np.ndarray], device: str = "cpu", max_tokens: int = 32_000
) -> Tensor:
    """(N, C) logits after each whole text; an empty one gets zeros."""
    out = torch.zeros(len(encoded), len(model.config.labels))
    order = sorted((i for i in range(len(encoded)) if len(encoded[i])), key=lambda i: len(encoded[i]))
    batch: list[int] = []

    def flush() -> None:
        if batch:
            input_ids, lengths = pad([encoded[i].tolist() for i in batch])
            out[batch] = model(input_ids.to(device), lengths.to(device), final_only=True)[0].float().cpu()
            batch.clear()

    for i in order:
        if (len(batch) + 1) * len(encoded[i]) > max_tokens:
            flush()
        batch.append(i)
    flush()
    return out


def _calibrate(
    run: Run, model: Classifier, tokenizer: Tokenizer, dev: dict[str, list[Example]]
) -> tuple[float, dict[str, float]]:
    """Temperature of least dev negative log-likelihood, each source counting alike, and dev accuracy per source."""
    metrics: dict[str, float] = {}
    parts = []
    for name, examples in dev.items():
        logits = final_logits(model, _encode(tokenizer, [e.text for e in examples]), run.device)
        labels = torch.tensor([e.label for e in examples])
        metrics[name] = round(float((logits.argmax(dim=1) == labels).float().mean()), 4)
        run.say(f"dev {name}: {metrics[name]:.4f} of {len(labels)}")
        parts.append((logits, labels))
    grid = np.geomspace(0.3, 5, 200)
    nll = [sum(float(nn.functional.cross_entropy(logits / t, labels)) for logits, labels in parts) for t in grid]
    return float(grid[int(np.argmin(nll))]), metrics
