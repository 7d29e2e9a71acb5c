"""int8 LSTM: near float32, and every row's numbers its own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper

from export.graph import build_graph, save_graph
from export.parity import open_graph
from export.quantize import LARGEST_WEIGHT
from models.checkpoint import CheckpointConfig, save_checkpoint
from models.classifier import ClassifierConfig
from models.tokenizer import train_tokenizer
from models.trunk import TrunkConfig
from tests.conftest import ENGLISH

VOCAB = 40


def make(folder: Path, cell: str = "lstm", num_layers: int = 2) -> CheckpointConfig:
    trunk = TrunkConfig(cell=cell, vocab_size=VOCAB, embedding_dim=8, hidden_size=16, num_layers=num_layers)
    config = CheckpointConfig(
        name="tiny", task="sentiment", language="en", classifier=ClassifierConfig(trunk=trunk, pools=("last", "mean"))
    )
    torch.manual_seed(3)
    module = config.build()
    tokenizer = train_tokenizer("en", ENGLISH, 420, lowercase=True, specials=False)
    save_checkpoint(folder, config, module, tokenizer)
    return config


def test_int8_rows_are_bit_for_bit_independent_of_batch_mates_padding_and_chunks(tmp_path: Path) -> None:
    """The 8-bit scale is a constant, whatever else is in the call: here a mate with the largest inputs there are."""
    config = make(tmp_path)
    save_graph(build_graph(config, tmp_path / "model.safetensors", "int8"), tmp_path / "model.onnx")
    run, rng = open_graph(tmp_path / "model.onnx"), np.random.default_rng(0)
    ids, lengths = rng.integers(0, VOCAB, (5, 12)), np.array([12, 3, 7, 12, 1])
    start = (
        np.zeros((5, config.classifier.state_size), np.float32) if config.classifier else np.zeros((5, 0), np.float32)
    )
    start[2] = 0.9

    together_state, together = run(ids, lengths, start, 1)

    for row, length in enumerate(lengths):
        alone_state, alone = run(ids[row : row + 1, :length], lengths[row : row + 1], start[row : row + 1], 1)
        np.testing.assert_array_equal(alone_state[0], together_state[row])
        np.testing.assert_array_equal(alone[0], together[row])
    state, logits = start[:1], together[:0]
    for position in range(12):
        state, logits = run(ids[:1, position : position + 1], np.array([1]), state, 1)
    np.testing.assert_array_equal(state, together_state[:1])
    np.testing.assert_array_equal(logits, together[:1])


def test_int8_stays_near_float32(tmp_path: Path) -> None:
    """7 bits a weight, 8 an input: a small difference, not a wrong gate order."""
    config = make(tmp_path)
    results = []
    for precision in ("float32", "int8"):
        save_graph(build_graph(config, tmp_path / "model.safetensors", precision), tmp_path / "model.onnx")
        state = np.zeros((4, config.classifier.state_size if config.classifier else 0), np.float32)
        ids = np.random.default_rng(1).integers(0, VOCAB, (4, 20))
        results.append(open_graph(tmp_path / "model.onnx")(ids, np.full(4, 20), state, 20)[1])

    difference = np.abs(results[0] - results[1]).max()
    assert 0 < difference < 0.02


def test_int8_weights_overflow_on_no_processor(tmp_path: Path) -> None:
    """Without VNNI two neighbours' products are added in 16 bits: a bundle would say something else there than elsewhere."""
    config = make(tmp_path)
    graph = build_graph(config, tmp_path / "model.safetensors", "int8")
    layers = [node for node in graph.graph.node if node.op_type == "DynamicQuantizeLSTM"]
    names = [name for node in layers for name in node.input[1:3]]
    graph.graph.output.extend(helper.make_tensor_value_info(name, TensorProto.INT8, [1, None, None]) for name in names)
    save_graph(graph, tmp_path / "model.onnx")
    session = onnxruntime.InferenceSession(str(tmp_path / "model.onnx"))
    one = np.ones(1, np.int64)
    state = np.zeros((1, config.classifier.state_size if config.classifier else 0), np.float32)

    weights = session.run(
        names, {"input_ids": one[None], "lengths": one, "state": state, "logits_to_keep": np.array(1)}
    )

    assert [np.abs(w.astype(int)).max() for w in weights] == [LARGEST_WEIGHT] * 4
    assert 2 * 255 * LARGEST_WEIGHT < 2**15


@pytest.mark.parametrize("cell", ["gru", "rnn"])
def test_int8_is_refused_for_cells_without_an_int8_operator(tmp_path: Path, cell: str) -> None:
    """Not quietly exported in float32."""
    config = make(tmp_path, cell)

    with pytest.raises(ValueError, match=f"no int8 operator for {cell}"):
        build_graph(config, tmp_path / "model.safetensors", "int8")
