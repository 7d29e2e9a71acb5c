"""The same inputs through torch and through ONNX Runtime, over a grid; raises if they differ."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnxruntime
import torch

from models.classifier import Classifier
from models.language_model import LanguageModel
from service.bundle import ParityCase, ParityCertificate, Precision, SelfTest

BATCHES = (1, 3, 8)
LENGTHS = (1, 2, 17, 64)
CHUNKS = (1, 5)  # tokens per run, besides the whole
TOLERANCE: dict[Precision, float] = {"float32": 1e-4, "int8": 0.5}  # against float32 torch
INVARIANCE_TOLERANCE = 1e-4  # a row among others or in parts, against itself alone and whole; every precision

FloatArray = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.int64]
Session = Callable[[IntArray, IntArray, FloatArray, int], tuple[FloatArray, FloatArray]]


class ParityError(Exception):
    """The graph and torch disagree beyond the tolerance; the message says where."""


def open_graph(path: Path) -> Session:
    """``run(input_ids, lengths, state, logits_to_keep) -> (state, logits)`` of a graph on disk."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])

    def run(
        input_ids: IntArray, lengths: IntArray, state: FloatArray, logits_to_keep: int
    ) -> tuple[FloatArray, FloatArray]:
        feed = {"input_ids": input_ids, "lengths": lengths, "state": state, "logits_to_keep": np.array(logits_to_keep)}
        next_state, logits = session.run(["next_state", "logits"], feed)
        return np.asarray(next_state), np.asarray(logits)

    return run


def error(expected: FloatArray, found: FloatArray) -> float:
    """Largest difference: absolute, or relative where the expected number is above 1. NaN counts as infinite."""
    difference = np.abs(found - expected) / np.maximum(1.0, np.abs(expected))
    return float(np.nan_to_num(difference, nan=np.inf).max(initial=0.0))


@torch.no_grad()
def _torch_run(
    module: Classifier | LanguageModel, input_ids: IntArray, lengths: IntArray, state: FloatArray
) -> tuple[FloatArray, FloatArray]:
    logits, after = module(torch.from_numpy(input_ids), torch.from_numpy(lengths), torch.from_numpy(state))
    return after.numpy(), logits.numpy()


def _graph_run(
    run: Session, input_ids: IntArray, lengths: IntArray, state: FloatArray, chunk: int
) -> tuple[FloatArray, FloatArray]:
    """Through the graph in pieces of ``chunk`` tokens; rows that are over keep their state. Returns (B, S), (B, T, N)."""
    batch, time = input_ids.shape
    pieces = []
    for start in range(0, time, chunk):
        part = np.clip(lengths - start, 0, chunk)
        going = part > 0
        width = int(part.max(initial=0))
        if not width:
            break
        after, logits = run(input_ids[going, start : start + width], part[going], state[going], width)
        state = state.copy()
        state[going] = after
        aligned = np.zeros((batch, chunk, logits.shape[2]), np.float32)
        for row, index in enumerate(np.flatnonzero(going)):  # slots count from the row's own end
            aligned[index, : part[index]] = logits[row, width - part[index] :]
        pieces.append(aligned)
    return state, np.concatenate(pieces, axis=1)[:, :time]


def check_parity(module: Classifier | LanguageModel, graph: Path, tolerance: float, seed: int = 0) -> ParityCertificate:
    """Run the grid batch x length x chunking x state, against torch and against each row alone and whole.

    Raises:
        ParityError: a case is off by more than ``tolerance``, or a row's numbers depend on its batch or its chunks by more
            than ``INVARIANCE_TOLERANCE``; the message names the worst case.
    """
    run, rng = open_graph(graph), np.random.default_rng(seed)
    cases: list[ParityCase] = []
    for batch, time, from_zero in product(BATCHES, LENGTHS, (True, False)):
        input_ids = rng.integers(0, module.config.trunk.vocab_size, (batch, time))
        lengths = rng.integers(1, time + 1, batch)
        lengths[0] = time
        state = np.zeros((batch, module.config.state_size), np.float32)
        if not from_zero:  # a state that some other text has left
            before = rng.integers(0, module.config.trunk.vocab_size, (batch, 9))
            state, _ = _torch_run(module, before, np.full(batch, 9), state)
        torch_state, torch_logits = _torch_run(module, input_ids, lengths, state)
        alone_state, alone_logits = _each_alone(run, input_ids, lengths, state)
        real = np.arange(time)[None, :] < lengths[:, None]
        for chunk in sorted({time, *(c for c in CHUNKS if c < time)}):
            found_state, found = _graph_run(run, input_ids, lengths, state, chunk)
            cases.append(
                ParityCase(
                    batch=batch,
                    length=time,
                    chunk=chunk,
                    zero_state=from_zero,
                    max_error=max(error(torch_state, found_state), error(torch_logits[real], found[real])),
                    invariance_error=max(error(alone_state, found_state), error(alone_logits[real], found[real])),
                )
            )
    worst = max(cases, key=lambda case: case.max_error)
    if worst.max_error > tolerance:
        raise ParityError(
            f"torch and ONNX Runtime differ by {worst.max_error:.3g} (tolerance {tolerance:g}) at {_place(worst)}"
        )
    least_invariant = max(cases, key=lambda case: case.invariance_error)
    if least_invariant.invariance_error > INVARIANCE_TOLERANCE:
        raise ParityError(
            f"a row's numbers depend on its batch or its chunks by {least_invariant.invariance_error:.3g} "
            f"(tolerance {INVARIANCE_TOLERANCE:g}) at {_place(least_invariant)}"
        )
    return ParityCertificate(
        tolerance=tolerance,
        max_error=worst.max_error,
        invariance_tolerance=INVARIANCE_TOLERANCE,
        max_invariance_error=least_invariant.invariance_error,
        cases=cases,
        torch=torch.__version__,
        onnxruntime=onnxruntime.__version__,
    )


def _place(case: ParityCase) -> str:
    state = "zero" if case.zero_state else "carried"
    return f"batch {case.batch}, length {case.length}, chunks of {case.chunk}, {state} state"


def _each_alone(
    run: Session, input_ids: IntArray, lengths: IntArray, state: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Every row in a run of its own, whole and unpadded. Returns (B, S), (B, T, N)."""
    states, logits = [], []
    for row, length in enumerate(lengths):
        after, found = run(input_ids[row : row + 1, :length], lengths[row : row + 1], state[row : row + 1], int(length))
        states.append(after[0])
        logits.append(np.pad(found[0], ((0, input_ids.shape[1] - int(length)), (0, 0))))
    return np.stack(states), np.stack(logits)


def make_self_test(graph: Path, vocab_size: int, state_size: int, seed: int = 1) -> SelfTest:
    """Two short rows with their final logits (at most eight each), for the service to repeat when it opens the bundle."""
    rng = np.random.default_rng(seed)
    input_ids = rng.integers(0, vocab_size, (2, 7))
    _, logits = open_graph(graph)(input_ids, np.array([7, 7]), np.zeros((2, state_size), np.float32), 1)
    return SelfTest(input_ids=input_ids.tolist(), logits=logits[:, -1, :8].round(6).tolist())
