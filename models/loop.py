"""The training loop: a run, its stages, their schedule, and what a killed run leaves behind for the next to go on."""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import torch
from pydantic import BaseModel, ValidationError
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from models.checkpoint import WEIGHTS_FILE
from models.recipe import Recipe

RESUME_FILE = "resume.safetensors"
ANSWERS_FILE = "answers.safetensors"  # of teachers
SAVE_EVERY_S = 60.0
LOG_EVERY_S = 10.0
CURVE_POINTS = 50  # of a loss curve in metrics.json

Batch = TypeVar("Batch")


class TrainingError(Exception):
    """A run cannot go on; the message says where and what to do."""


class Saved(BaseModel, frozen=True):
    """Where a killed run was. Stored in the header of ``resume.safetensors``, so that it always fits the tensors."""

    recipe: dict[str, Any]
    seed: int
    texts: str | None = None
    init: str | None = None
    teachers: list[str] = []
    stage: str
    step: int
    elapsed_s: float  # in this stage
    tokens: int
    curve: list[dict[str, float]]
    spent_s: float  # in the whole run, reading data and all
    finished: dict[str, dict[str, Any]]  # summaries of the stages that are over, by name


@dataclass
class Run:
    """What a training run was asked to do, and how far it is."""

    recipe: Recipe
    data: Path | None
    out: Path
    seed: int = 0
    device: str = "cpu"
    max_minutes: float = math.inf
    own_texts: Path | None = None
    init: Path | None = None  # a checkpoint to start from
    teachers: tuple[Path, ...] = ()  # checkpoints to distil
    tokenizer: Path | None = None  # instead of a new one
    console: Console = field(default_factory=lambda: Console(stderr=True))
    saved: Saved | None = None
    finished: dict[str, dict[str, Any]] = field(default_factory=dict)
    began: float = field(default_factory=time.monotonic)

    def say(self, message: str) -> None:
        """One line about the run, for people."""
        self.console.print(f"{time.strftime('%H:%M:%S')} {message}", highlight=False, markup=False)

    @property
    def spent_s(self) -> float:
        """Seconds since the run began, those of its killed predecessors included."""
        return time.monotonic() - self.began

    @property
    def left_s(self) -> float:
        """Seconds that the stages may still take: a little is kept for calibrating and writing."""
        limit_s = self.max_minutes * 60
        return limit_s - min(30.0, 0.05 * limit_s) - self.spent_s

    def find_saved(self) -> None:
        """Look for what a killed run of the same recipe, seed and texts has left in ``out``; go on with it.

        Raises:
            TrainingError: there is something that cannot be read.
        """
        path = self.out / RESUME_FILE
        if not path.is_file():
            return
        try:
            with safe_open(path, "pt") as file:
                metadata = file.metadata() or {}
            saved = Saved.model_validate_json(metadata["progress"])
        except (OSError, SafetensorError, KeyError, ValidationError) as error:
            raise TrainingError(f"{path}: cannot go on from it ({error}); delete it to start over") from error
        if any(getattr(saved, name) != value for name, value in self.identity().items()):
            self.say(f"{path} is of another recipe, seed, text file or start: starting over")
            return
        self.saved, self.finished = saved, dict(saved.finished)
        self.began -= saved.spent_s

    def identity(self) -> dict[str, Any]:
        """What makes two runs the same, as it is saved."""
        return {
            "recipe": json.loads(self.recipe.model_dump_json()),
            "seed": self.seed,
            "texts": None if self.own_texts is None else _content_of(self.own_texts),
            "init": None if self.init is None else _content_of(self.init / WEIGHTS_FILE),
            "teachers": [_content_of(folder / WEIGHTS_FILE) for folder in self.teachers],
        }


def _content_of(path: Path) -> str:
    """A hash of a file: one that was edited, or another of its name, makes another run."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()


class Schedule:
    """Learning rate: linear warm-up, then a cosine to 1 %, driven by steps or by time, whichever is further on.

    A run that is cut by its time limit so ends with the same small rate as one that finishes.

    Args:
        total_steps: steps of the whole stage.
        warmup_steps: steps until the full rate.
        limit_s: seconds the stage may take; whatever they are, it takes one step.
    """

    def __init__(self, total_steps: int, warmup_steps: int, limit_s: float) -> None:
        self.total_steps = max(1, total_steps)
        self.warmup_steps = max(1, warmup_steps)
        self.limit_s = max(1e-6, limit_s)

    def progress(self, step: int, elapsed_s: float) -> float:
        """0 at the start, 1 when the stage is over."""
        return min(1.0, max(step / self.total_steps, elapsed_s / self.limit_s))

    def factor(self, step: int, elapsed_s: float) -> float:
        """What the learning rates are multiplied by."""
        warm = min(1.0, (step + 1) / self.warmup_steps)
        return warm * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * self.progress(step, elapsed_s))))


class Stage:
    """One stage's loop: steps its module, logs, saves what a killed run needs to go on, and stops in time.

    Args:
        run: the run it belongs to.
        name: as saved and shown.
        module: what is trained.
        optimizer: of the module's parameters.
        schedule: of the learning rate; its end is the stage's end.
        ema: a copy of the module that holds the average of its weights.
        carried: tensors that the loss keeps from batch to batch; saved and restored with the rest.
    """

    def __init__(
        self,
        run: Run,
        name: str,
        module: nn.Module,
        optimizer: torch.optim.Optimizer,
        schedule: Schedule,
        ema: nn.Module | None = None,
        carried: dict[str, Tensor] | None = None,
    ) -> None:
        self.run, self.name, self.module, self.optimizer = run, name, module, optimizer
        self.schedule, self.ema = schedule, ema
        self.carried = {} if carried is None else carried
        self.step = 0
        self.elapsed_s = 0.0
        self.tokens = 0
        self.curve: list[dict[str, float]] = []
        self._base_rates = [group["lr"] for group in optimizer.param_groups]

    def train(
        self,
        epoch_batches: Callable[[int], Iterator[Batch]],
        loss_of: Callable[[Batch], tuple[Tensor, int]],
        clip: float,
        ema_decay: float = 0.0,
    ) -> None:
        """Go through epochs until the schedule is done.

        Args:
            epoch_batches: batches of an epoch, at least one, the same for the same number (so that a resumed run can skip to its place).
            loss_of: (loss, tokens read) of a batch.
            clip: gradient norm.
            ema_decay: of the averaged copy, if there is one.

        Raises:
            TrainingError: the loss is no number any more.
        """
        self._resume()
        if self.name in self.run.finished:
            return
        parameters = [p for p in self.module.parameters() if p.requires_grad]
        seen, epoch = 0, 0
        began = time.monotonic() - self.elapsed_s
        saved = time.monotonic()
        report = _Report(self)
        with report.bar:
            while self.schedule.progress(self.step, self.elapsed_s) < 1:
                for batch in epoch_batches(epoch):
                    seen += 1
                    if seen <= self.step:
                        continue
                    loss, tokens = self._step(batch, loss_of, parameters, clip)
                    if self.ema is not None:
                        average(self.ema, self.module, min(ema_decay, (1 + self.step) / (10 + self.step)))
                    self.step += 1
                    self.tokens += tokens
                    now = time.monotonic()
                    self.elapsed_s = now - began
                    report.add(loss, tokens, now)
                    if now - saved >= SAVE_EVERY_S:
                        report.line(now)  # which stops the run before a loss that is no number is saved
                        self.save()
                        saved = now
                    if self.schedule.progress(self.step, self.elapsed_s) >= 1:
                        break
                epoch += 1
            report.end()
        self.run.finished[self.name] = self.summary()
        self.save()

    def _step(
        self,
        batch: Batch,
        loss_of: Callable[[Batch], tuple[Tensor, int]],
        parameters: list[nn.Parameter],
        clip: float,
    ) -> tuple[Tensor, int]:
        """One update; returns the loss () and the tokens read. Nothing here waits for the device."""
        factor = self.schedule.factor(self.step, self.elapsed_s)
        for group, rate in zip(self.optimizer.param_groups, self._base_rates, strict=True):
            group["lr"] = rate * factor
        loss, tokens = loss_of(batch)
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, clip)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        return loss.detach(), tokens

    def summary(self) -> dict[str, Any]:
        """For metrics.json."""
        return {
            "steps": self.step,
            "tokens": self.tokens,
            "minutes": round(self.elapsed_s / 60, 2),
            "curve": self.curve[:: max(1, len(self.curve) // CURVE_POINTS)],
        }

    def save(self) -> None:
        """Write module, averaged copy, optimizer, random state and counters as one file, whole or not at all."""
        tensors = {f"module.{k}": v for k, v in self.module.state_dict().items()}
        if self.ema is not None:
            tensors |= {f"ema.{k}": v for k, v in self.ema.state_dict().items()}
        for index, moments in self.optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{index}.{k}": torch.as_tensor(v) for k, v in moments.items()}
        tensors |= {f"carried.{k}": v for k, v in self.carried.items()}
        tensors["random.cpu"] = torch.get_rng_state()
        if self.run.device != "cpu":
            tensors["random.cuda"] = torch.cuda.get_rng_state()
        saved = Saved(
            **self.run.identity(),
            stage=self.name,
            step=self.step,
            elapsed_s=self.elapsed_s,
            tokens=self.tokens,
            curve=self.curve,
            spent_s=self.run.spent_s,
            finished=self.run.finished,
        )
        path = self.run.out / RESUME_FILE
        partial = path.with_name(path.name + ".partial")
        whole = {k: v.detach().cpu().contiguous() for k, v in tensors.items()}
        save_file(whole, partial, {"progress": saved.model_dump_json()})
        partial.replace(path)

    def _resume(self) -> None:
        saved = self.run.saved
        if saved is None or saved.stage != self.name:
            return
        with safe_open(self.run.out / RESUME_FILE, "pt", device=self.run.device) as file:
            tensors: dict[str, Tensor] = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 - not a dict
        self.module.load_state_dict(_under("module.", tensors))
        if self.ema is not None:
            self.ema.load_state_dict(_under("ema.", tensors))
        moments: dict[int, dict[str, Tensor]] = {}
        for key, value in _under("optimizer.", tensors).items():
            index, name = key.split(".")
            moments.setdefault(int(index), {})[name] = value.cpu() if name == "step" else value
        self.optimizer.load_state_dict({"state": moments, "param_groups": self.optimizer.state_dict()["param_groups"]})
        self.carried |= _under("carried.", tensors)
        torch.set_rng_state(tensors["random.cpu"].cpu())
        if "random.cuda" in tensors:
            torch.cuda.set_rng_state(tensors["random.cuda"].cpu())
        self.step, self.elapsed_s, self.tokens = saved.step, saved.elapsed_s, saved.tokens
        self.curve = list(saved.curve)
        if self.name not in self.run.finished:
            self.run.say(f"{self.name}: going on from step {self.step}, {self.elapsed_s / 60:.1f} minutes in")


class _Report:
    """Says now and then how a stage is doing: a bar on a terminal, lines elsewhere; notes the curve."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._console = stage.run.console
        self._logged = time.monotonic()
        self._losses: list[Tensor] = []
        self._counts: list[int] = []
        columns = (TextColumn(stage.name), BarColumn(), TextColumn("{task.fields[line]}"), TimeElapsedColumn())
        self.bar = Progress(*columns, console=self._console, disable=not self._console.is_terminal)
        self._task = self.bar.add_task(stage.name, total=1.0, line="")

    def add(self, loss: Tensor, tokens: int, now: float) -> None:
        """Count a step in; its loss () is read later, since reading waits for the device."""
        self._losses.append(loss)
        self._counts.append(tokens)
        if now - self._logged >= LOG_EVERY_S or self._stage.step == 1:
            self.line(now)

    def end(self) -> None:
        """Say how the last steps were."""
        self.line(time.monotonic())

    def line(self, now: float) -> None:
        """Say how the steps since the last line were.

        Raises:
            TrainingError: a loss among them is no number any more.
        """
        if not self._losses:
            return
        stage = self._stage
        losses, tokens = torch.stack(self._losses).double().cpu(), sum(self._counts)
        finite = torch.isfinite(losses)
        if not finite.all():
            first = int((~finite).int().argmax())
            at = stage.step - len(losses) + first
            raise TrainingError(
                f"{stage.name}: the loss is {float(losses[first])} at step {at}; try a smaller learning_rate"
            )
        mean = float(losses @ torch.tensor(self._counts, dtype=torch.float64)) / tokens
        rate = tokens / max(now - self._logged, 1e-9)
        done = stage.schedule.progress(stage.step, stage.elapsed_s)
        line = f"{done:6.1%} step {stage.step} loss {mean:.4f} {rate:,.0f} tokens/s"
        self.bar.update(self._task, completed=done, line=line)
        if not self._console.is_terminal:
            stage.run.say(f"{stage.name} {line}")
        minutes = round(stage.elapsed_s / 60, 2)
        stage.curve.append({"minutes": minutes, "step": stage.step, "loss": round(mean, 4)})
        self._logged = now
        self._losses.clear()
        self._counts.clear()


def _under(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)}


@torch.no_grad()
def average(averaged: nn.Module, module: nn.Module, decay: float) -> None:
    """Move the averaged copy towards the module: averaged = decay * averaged + (1 - decay) * module."""
    for into, value in zip(averaged.parameters(), module.parameters(), strict=True):
        into.lerp_(value, 1 - decay)
