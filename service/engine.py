"""Owns an ONNX Runtime session: arrays in, arrays out. Knows no text and no HTTP."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from service.bundle import GRAPH_FILE, MANIFEST_FILE, Manifest, load_manifest, verify_files
from service.errors import BundleError, ModelRunError, NonFiniteOutputError

IntArray = NDArray[np.int64]
FloatArray = NDArray[np.float32]

WARMUP_SHAPES = ((1, 1), (1, 16), (4, 16))  # (B, T): the first runs of a session allocate, later ones reuse


class Model(Protocol):
    """What batching needs of a model: ``Engine``, or a stand-in in a test."""

    state_size: int
    logits_size: int

    def run(
        self, input_ids: IntArray, lengths: IntArray, state: FloatArray, logits_to_keep: int
    ) -> tuple[FloatArray, FloatArray]:
        """See ``Engine.run``."""
        ...


class Session(Protocol):
    """The part of ``onnxruntime.InferenceSession`` that an engine uses."""

    def run(self, output_names: None, input_feed: Mapping[str, object]) -> list[FloatArray]:
        """Run the graph once; all outputs, in the graph's order."""
        ...


class Engine:
    """A loaded graph.

    Args:
        manifest: what the bundle says about itself.
        session: an open ONNX Runtime session on the bundle's graph.
    """

    def __init__(self, manifest: Manifest, session: Session) -> None:
        self.manifest = manifest
        self.model_id = manifest.id
        self.state_size = manifest.state_size
        self.logits_size = len(manifest.labels) or manifest.vocab_size
        self._session = session

    @classmethod
    def open(cls, folder: Path, threads: int) -> Engine:
        """Verify a bundle, open its graph, run its self-test and warm it up.

        Args:
            folder: the bundle.
            threads: how many threads one run may use, at least 1.

        Raises:
            BundleError: a file is missing, altered or unusable, or the self-test's answer is wrong.
        """
        manifest = load_manifest(folder)
        verify_files(folder, manifest)
        try:
            session = onnxruntime.InferenceSession(
                str(folder / GRAPH_FILE), _session_options(threads), providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # ONNX Runtime documents no exception types
            raise BundleError(
                folder / GRAPH_FILE, f"can't be opened by ONNX Runtime {onnxruntime.__version__}", "export it again"
            ) from error
        engine = cls(manifest, session)
        engine.self_test(folder)
        engine.warm_up()
        return engine

    def zero_state(self, rows: int) -> FloatArray:
        """(rows, S) zeros: the start of a text."""
        return np.zeros((rows, self.state_size), np.float32)

    def run(
        self, input_ids: IntArray, lengths: IntArray, state: FloatArray, logits_to_keep: int
    ) -> tuple[FloatArray, FloatArray]:
        """Feed each row its tokens.

        Args:
            input_ids: (B, T) token ids; what lies behind a row's length is ignored.
            lengths: (B,) tokens of each row, 1..T.
            state: (B, S) what each row has read before; zeros at the start of a text.
            logits_to_keep: K, 1..T: how many last positions of each row get logits.

        Returns:
            state (B, S) after each row's own length, and logits (B, K, N) of its last K positions.

        Raises:
            ModelRunError: ONNX Runtime refused the run.
            NonFiniteOutputError: a row's state or logits hold NaN or infinity.
        """
        feed = {
            "input_ids": input_ids,
            "lengths": lengths,
            "state": state,
            "logits_to_keep": np.asarray(logits_to_keep, np.int64),
        }
        try:
            new_state, logits = self._session.run(None, feed)
        except Exception as error:  # ONNX Runtime documents no exception types
            raise ModelRunError(f"{self.model_id}: ONNX Runtime refused the run") from error
        # A sum is finite only if every summand is, and costs less than asking each one.
        if not (np.isfinite(logits.sum()) and np.isfinite(new_state.sum())):
            raise NonFiniteOutputError(f"{self.model_id} returned NaN or infinity")
        return new_state, logits

    def self_test(self, folder: Path) -> None:
        """Compare the logits of the manifest's own example, row by row, with what was certified at export.

        Raises:
            BundleError: they differ by more than the manifest's tolerance, or the graph does not run.
        """
        test = self.manifest.self_test
        for row, (input_ids, expected) in enumerate(zip(test.input_ids, test.logits, strict=True)):
            ids = np.array([input_ids], np.int64)
            try:
                _, logits = self.run(ids, np.array([ids.shape[1]]), self.zero_state(1), 1)
            except (ModelRunError, NonFiniteOutputError) as error:
                raise BundleError(folder / GRAPH_FILE, f"fails its self-test: {error}", "export it again") from error
            difference = float(np.abs(logits[0, -1, : len(expected)] - np.array(expected)).max())
            if difference > test.tolerance:
                raise BundleError(
                    folder / MANIFEST_FILE,
                    f"has a self-test that fails at row {row}: off by {difference:.2g}, tolerance {test.tolerance:.2g}",
                    "graph and manifest do not belong together, or this machine computes otherwise: export again here",
                )

    def warm_up(self) -> None:
        """Run a few shapes, so that the first request finds the session's memory allocated."""
        for rows, time in WARMUP_SHAPES:
            self.run(np.ones((rows, time), np.int64), np.full(rows, time), self.zero_state(rows), 1)


def _session_options(threads: int) -> onnxruntime.SessionOptions:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads  # else ORT counts the host's cores, not the container's
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # idle threads leave the core to others
    options.enable_cpu_mem_arena = False  # it keeps the memory of the largest batch for ever and saves 1 % of the time
    options.log_severity_level = 3
    return options
