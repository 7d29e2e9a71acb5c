"""Tests of export/graph.py: the graph says what torch says, at any shape, in any pieces, in any company."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from export.graph import build_graph, save_graph
from export.parity import Session, open_graph
from models.checkpoint import WEIGHTS_FILE, CheckpointConfig
from models.classifier import Classifier, ClassifierConfig, Pool
from models.language_model import LanguageModel, LanguageModelConfig
from models.trunk import Cell, TrunkConfig

VOCABULARY = 30
TOLERANCE = 2e-5  # float32 sums in another order; logits are of size 1 to 10
CELLS: tuple[Cell, ...] = ("rnn", "lstm", "gru")
POOLS: dict[str, tuple[Pool, ...]] = {
    "last": ("last",),
    "mean": ("mean",),
    "all": ("boltzmann", "last", "mean"),
}
FloatArray = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.int64]


@dataclass
class Exported:
    """A module and its graph."""

    module: Classifier | LanguageModel
    run: Session
    path: Path

    @torch.no_grad()
    def expected(self, input_ids: IntArray, lengths: IntArray, state: FloatArray) -> tuple[FloatArray, FloatArray]:
        """What torch says: state (B, S) and logits (B, T, N)."""
        logits, after = self.module(torch.from_numpy(input_ids), torch.from_numpy(lengths), torch.from_numpy(state))
        return after.numpy(), logits.numpy()

    def zeros(self, rows: int) -> FloatArray:
        return np.zeros((rows, self.module.config.state_size), np.float32)


def export(folder: Path, cell: Cell, kind: str, num_layers: int) -> Exported:
    """A tiny model of ``kind``: "language-model", or the name of some pools."""
    trunk = TrunkConfig(cell=cell, vocab_size=VOCABULARY, embedding_dim=5, hidden_size=6, num_layers=num_layers)
    architecture: dict[str, Any] = {"task": "language-model", "language_model": LanguageModelConfig(trunk=trunk)}
    if kind in POOLS:
        kinds = {"mean": 0, "all": 3}  # those with a temperature for each text, one of them by kinds of texts
        classifier = ClassifierConfig(
            trunk=trunk, pools=POOLS[kind], head_size=7, text_temperature=kind in kinds, kinds=kinds.get(kind, 0)
        )
        architecture = {"task": "sentiment", "classifier": classifier}
    config = CheckpointConfig.model_validate({"name": "tiny", "language": "en"} | architecture)
    torch.manual_seed(3)
    module = config.build().eval()
    with torch.no_grad():
        for parameter in module.parameters():  # large enough that every gate and every bias matters
            parameter.copy_((torch.randn_like(parameter) * 0.7).half().float())
    save_file({name: value.half().contiguous() for name, value in module.state_dict().items()}, folder / WEIGHTS_FILE)
    save_graph(build_graph(config, folder / WEIGHTS_FILE), folder / "model.onnx")
    return Exported(module, open_graph(folder / "model.onnx"), folder / "model.onnx")


@pytest.fixture(scope="session")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Exported]:
    """Exports a tiny model once."""
    made: dict[tuple[Cell, str, int], Exported] = {}

    def of(cell: Cell, kind: str, num_layers: int = 1) -> Exported:
        key = (cell, kind, num_layers)
        if key not in made:
            made[key] = export(tmp_path_factory.mktemp("graph"), *key)
        return made[key]

    return of


every_model = pytest.mark.parametrize(
    ("cell", "kind", "num_layers"),
    [
        (cell, kind, layers)
        for cell in CELLS
        for kind, layers in (("language-model", 2), ("last", 1), ("mean", 1), ("all", 2))
    ],
)


@st.composite
def batches(draw: st.DrawFn, most_rows: int = 5, most_tokens: int = 12) -> tuple[IntArray, IntArray, int]:
    """(B, T) ids, (B,) lengths of which one is T, and a seed for states."""
    rows, time = draw(st.integers(1, most_rows)), draw(st.integers(1, most_tokens))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    lengths = rng.integers(1, time + 1, rows)
    lengths[rng.integers(rows)] = time
    return rng.integers(0, VOCABULARY, (rows, time)), lengths, int(rng.integers(2**32))


def left_by_another_text(model: Exported, rows: int, seed: int) -> FloatArray:
    """A state that some text has left: pools and cells hold numbers that can occur."""
    rng = np.random.default_rng(seed)
    if seed % 3 == 0:
        return model.zeros(rows)
    before = rng.integers(0, VOCABULARY, (rows, 4))
    return model.expected(before, rng.integers(1, 5, rows), model.zeros(rows))[0]


@every_model
@given(batch=batches(), data=st.data())
@settings(max_examples=25, deadline=None)
def test_the_graph_is_torch_at_any_shape_and_from_any_state(
    exported: Callable[..., Exported], cell: Cell, kind: str, num_layers: int, batch: Any, data: st.DataObject
) -> None:
    """States after each row's own length, and the logits of each row's last K positions, for every K."""
    model = exported(cell, kind, num_layers)
    input_ids, lengths, seed = batch
    rows, time = input_ids.shape
    keep = data.draw(st.integers(1, time))
    start = left_by_another_text(model, rows, seed)
    state, logits = model.expected(input_ids, lengths, start)

    found_state, found = model.run(input_ids, lengths, start, keep)

    assert found.shape == (rows, keep, logits.shape[2])
    np.testing.assert_allclose(found_state, state, atol=TOLERANCE, rtol=TOLERANCE)
    for row in range(rows):
        for slot in range(keep):
            position = max(0, lengths[row] - keep + slot)
            np.testing.assert_allclose(found[row, slot], logits[row, position], atol=TOLERANCE, rtol=TOLERANCE)


@every_model
@given(batch=batches(most_rows=1, most_tokens=14), data=st.data())
@settings(max_examples=25, deadline=None)
def test_a_text_in_any_pieces_is_the_text_as_a_whole(
    exported: Callable[..., Exported], cell: Cell, kind: str, num_layers: int, batch: Any, data: st.DataObject
) -> None:
    """The state carries everything: any chunking ends in the same state and says the same at every token."""
    model = exported(cell, kind, num_layers)
    input_ids, lengths, seed = batch
    time = input_ids.shape[1]
    start = left_by_another_text(model, 1, seed)
    whole_state, whole = model.run(input_ids, lengths, start, time)
    cuts = sorted({0, time, *data.draw(st.lists(st.integers(0, time), max_size=5))})

    state, pieces = start, []
    for begin, end in pairwise(cuts):
        state, logits = model.run(input_ids[:, begin:end], np.array([end - begin]), state, end - begin)
        pieces.append(logits)

    np.testing.assert_allclose(state, whole_state, atol=TOLERANCE, rtol=TOLERANCE)
    np.testing.assert_allclose(np.concatenate(pieces, axis=1), whole, atol=TOLERANCE, rtol=TOLERANCE)


@every_model
@given(batch=batches(most_rows=6))
@settings(max_examples=25, deadline=None)
def test_batch_mates_and_padding_change_nothing(
    exported: Callable[..., Exported], cell: Cell, kind: str, num_layers: int, batch: Any
) -> None:
    """A row in a batch, padded with anything, gets what it gets alone."""
    model = exported(cell, kind, num_layers)
    input_ids, lengths, seed = batch
    start = left_by_another_text(model, len(input_ids), seed)
    state, logits = model.run(input_ids, lengths, start, 1)

    for row, length in enumerate(lengths):
        alone_state, alone = model.run(input_ids[row : row + 1, :length], np.array([length]), start[row : row + 1], 1)
        np.testing.assert_allclose(state[row], alone_state[0], atol=TOLERANCE, rtol=TOLERANCE)
        np.testing.assert_allclose(logits[row], alone[0], atol=TOLERANCE, rtol=TOLERANCE)


@pytest.mark.parametrize("cell", CELLS)
def test_a_long_text_stays_exact(exported: Callable[..., Exported], cell: Cell) -> None:
    """Two thousand tokens token by token: nothing drifts, no pool loses its count."""
    model = exported(cell, "all", 2)
    ids = np.random.default_rng(1).integers(0, VOCABULARY, (1, 2000))
    state, logits = model.expected(ids, np.array([2000]), model.zeros(1))

    found_state, found = model.zeros(1), np.zeros((1, 1, 2), np.float32)
    for t in range(2000):
        found_state, found = model.run(ids[:, t : t + 1], np.array([1]), found_state, 1)

    np.testing.assert_allclose(found[0, 0], logits[0, -1], atol=1e-3)
    np.testing.assert_allclose(found_state, state, atol=1e-3, rtol=1e-4)


@every_model
def test_the_signature_is_the_same_for_every_model(
    exported: Callable[..., Exported], cell: Cell, kind: str, num_layers: int
) -> None:
    """The service knows no cells: four inputs, two outputs, named axes."""
    model = exported(cell, kind, num_layers)
    graph = onnx.load(model.path, load_external_data=False).graph

    def axes(value: onnx.ValueInfoProto) -> list[str | int]:
        return [d.dim_param or d.dim_value for d in value.type.tensor_type.shape.dim]

    size = model.module.config.state_size
    outputs = VOCABULARY if kind == "language-model" else 2
    assert {v.name: axes(v) for v in graph.input} == {
        "input_ids": ["B", "T"],
        "lengths": ["B"],
        "state": ["B", size],
        "logits_to_keep": [],
    }
    assert {v.name: axes(v) for v in graph.output} == {"next_state": ["B", size], "logits": ["B", "K", outputs]}


def test_the_graph_holds_no_weights(exported: Callable[..., Exported]) -> None:
    """Every weight is a place in the safetensors file; what the graph itself holds is shapes and indices."""
    model = exported("lstm", "all", 2)
    graph = onnx.load(model.path, load_external_data=False).graph
    weights = {name for name, _ in model.module.named_parameters()}

    external = {t.name: {e.key: e.value for e in t.external_data} for t in graph.initializer if t.external_data}
    assert set(external) == weights
    assert {e["location"] for e in external.values()} == {WEIGHTS_FILE}
    assert all(np.prod(t.dims) <= 16 for t in graph.initializer if not t.external_data)


def test_a_graph_without_its_weights_beside_it_is_not_written(
    exported: Callable[..., Exported], tmp_path: Path
) -> None:
    """It could never be opened."""
    model = onnx.load(exported("gru", "last").path, load_external_data=False)

    with pytest.raises(FileNotFoundError, match=WEIGHTS_FILE.replace(".", r"\.")):
        save_graph(model, tmp_path / "model.onnx")
    assert not list(tmp_path.iterdir())
