"""Checkpoint -> ONNX graph: one signature for every cell and both tasks, weights left where they are.

Inputs: ``input_ids`` (B, T) int64, ``lengths`` (B,) int64 in 1..T, ``state`` (B, S) float32 (zeros start a text), and
``logits_to_keep`` () int64, K in 1..T. Outputs: ``next_state`` (B, S) after each row's own length, ``logits`` (B, K, N) at the row's
last K positions (slot j is position ``lengths - K + j``, held at 0 for shorter rows).

The graph holds no weights: its initializers are external data that point into ``model.safetensors``, in PyTorch's own
layout and float16. ``Cast``, ``Split`` and ``Concat`` bring them into ONNX's gate order; ONNX Runtime folds that at load.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Sequence
from pathlib import Path

import onnx
from onnx import TensorProto, helper

from models.checkpoint import WEIGHTS_FILE, CheckpointConfig
from models.trunk import TrunkConfig

OPSET = 21
# Gate order: torch's -> ONNX's, as positions. LSTM i,f,g,o -> i,o,f,c; GRU r,z,n -> z,r,h.
GATES = {"rnn": (0,), "lstm": (0, 3, 1, 2), "gru": (1, 0, 2)}
OPERATORS = {"rnn": "RNN", "lstm": "LSTM", "gru": "GRU"}
DTYPES = {"F16": TensorProto.FLOAT16, "F32": TensorProto.FLOAT}


class GraphBuilder:
    """Collects nodes and initializers; every method returns the name of the tensor it makes."""

    def __init__(self, weights: Path) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: list[onnx.TensorProto] = []
        self._weights = weights
        with weights.open("rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            self._header = json.loads(file.read(length))
        self._data_start = 8 + length
        self._weights_made: dict[str, str] = {}
        self._names = 0

    def op(self, kind: str, *inputs: str, outputs: int = 1, **attributes: object) -> list[str]:
        """A node with fresh output names."""
        self._names += 1
        names = [
            f"{kind.lower()}_{self._names}" if outputs == 1 else f"{kind.lower()}_{self._names}_{i}"
            for i in range(outputs)
        ]
        self.nodes.append(helper.make_node(kind, list(inputs), names, name=names[0], **attributes))
        return names

    def one(self, kind: str, *inputs: str, **attributes: object) -> str:
        """A node with one output."""
        return self.op(kind, *inputs, **attributes)[0]

    def ints(self, *values: int, scalar: bool = False) -> str:
        """A constant int64 vector, or scalar."""
        self._names += 1
        name = f"ints_{self._names}"
        self.initializers.append(helper.make_tensor(name, TensorProto.INT64, [] if scalar else [len(values)], values))
        return name

    def weight(self, name: str) -> str:
        """A tensor of the weights file as float32, in the shape it was trained in."""
        if name in self._weights_made:
            return self._weights_made[name]
        entry = self._header[name]
        tensor = TensorProto(name=name, data_type=DTYPES[entry["dtype"]], dims=entry["shape"])
        tensor.data_location = TensorProto.EXTERNAL
        start, end = entry["data_offsets"]
        for key, value in (
            ("location", self._weights.name),
            ("offset", self._data_start + start),
            ("length", end - start),
        ):
            tensor.external_data.add(key=key, value=str(value))
        self.initializers.append(tensor)
        self._weights_made[name] = self.one("Cast", name, to=TensorProto.FLOAT)
        return self._weights_made[name]

    def linear(self, x: str, layer: str) -> str:
        """x (..., I) -> (..., O), as torch's Linear."""
        transposed = self.one("Transpose", self.weight(f"{layer}.weight"), perm=[1, 0])
        return self.one("Add", self.one("MatMul", x, transposed), self.weight(f"{layer}.bias"))

    def split(self, x: str, sizes: Sequence[int]) -> list[str]:
        """Along axis 1."""
        return self.op("Split", x, self.ints(*sizes), outputs=len(sizes), axis=1)


def build_graph(config: CheckpointConfig, weights: Path) -> onnx.ModelProto:
    """The graph of a checkpoint whose weights are in ``weights`` (a safetensors file, read for its offsets alone)."""
    g = GraphBuilder(weights)
    architecture = config.classifier or config.language_model
    assert architecture is not None
    trunk = architecture.trunk
    pool_sizes = config.classifier.pool_sizes() if config.classifier else {}
    vectors = [trunk.hidden_size] * (trunk.num_layers * trunk.vectors_per_layer)
    parts = g.split("state", [*vectors, *pool_sizes.values()]) if len(vectors) + len(pool_sizes) > 1 else ["state"]
    h, after = _trunk(g, trunk, parts[: len(vectors)])  # (B, T, H)
    positions = _kept_positions(g)  # (B, K, 1)
    if config.classifier:
        carried = dict(zip(pool_sizes, parts[len(vectors) :], strict=True))
        logits, pools_after = _classifier_head(g, config, h, positions, carried)
        after += pools_after
        outputs = len(config.classifier.labels)
    else:
        logits = _language_model_head(g, trunk, _gather(g, h, positions))
        outputs = trunk.vocab_size
    g.nodes.append(helper.make_node("Identity", [logits], ["logits"], name="logits"))
    g.nodes.append(helper.make_node("Concat", after, ["next_state"], name="next_state", axis=1))
    graph = helper.make_graph(
        g.nodes,
        config.name,
        [
            helper.make_tensor_value_info("input_ids", TensorProto.INT64, ["B", "T"]),
            helper.make_tensor_value_info("lengths", TensorProto.INT64, ["B"]),
            helper.make_tensor_value_info("state", TensorProto.FLOAT, ["B", architecture.state_size]),
            helper.make_tensor_value_info("logits_to_keep", TensorProto.INT64, []),
        ],
        [
            helper.make_tensor_value_info("next_state", TensorProto.FLOAT, ["B", architecture.state_size]),
            helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["B", "K", outputs]),
        ],
        initializer=g.initializers,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], producer_name="rnnserve")
    model.ir_version = 10
    return model


def _trunk(g: GraphBuilder, config: TrunkConfig, state: list[str]) -> tuple[str, list[str]]:
    """(B, T, H) the last layer's output, and each layer's end vectors (B, H)."""
    x = g.one("Gather", g.weight("trunk.embedding.weight"), g.one("Transpose", "input_ids", perm=[1, 0]))  # (T, B, E)
    lengths = g.one("Cast", "lengths", to=TensorProto.INT32)
    axis = {"first": g.ints(0), "directions": g.ints(1)}
    after: list[str] = []
    for depth in range(config.num_layers):
        layer = f"trunk.layers.{depth}"
        w, r = (
            g.one("Unsqueeze", _reordered(g, config, f"{layer}.{name}"), axis["first"])
            for name in ("weight_ih_l0", "weight_hh_l0")
        )
        biases = [_reordered(g, config, f"{layer}.{name}") for name in ("bias_ih_l0", "bias_hh_l0")]
        b = g.one("Unsqueeze", g.one("Concat", *biases, axis=0), axis["first"])
        start = [
            g.one("Unsqueeze", vector, axis["first"])
            for vector in state[depth * config.vectors_per_layer :][: config.vectors_per_layer]
        ]
        # torch multiplies the reset gate in after the recurrent product; ONNX calls that linear_before_reset.
        extra = {"linear_before_reset": 1} if config.cell == "gru" else {}
        y, *ends = g.op(
            OPERATORS[config.cell],
            x,
            w,
            r,
            b,
            lengths,
            *start,
            outputs=1 + len(start),
            hidden_size=config.hidden_size,
            **extra,
        )
        x = g.one("Squeeze", y, axis["directions"])  # (T, 1, B, H) -> (T, B, H)
        after += [g.one("Squeeze", end, axis["first"]) for end in ends]
    return g.one("Transpose", x, perm=[1, 0, 2]), after


def _reordered(g: GraphBuilder, config: TrunkConfig, name: str) -> str:
    """A gate-stacked weight (G*H, ·) or bias (G*H,) with its gates in ONNX's order."""
    weight, order = g.weight(name), GATES[config.cell]
    if len(order) == 1:
        return weight
    gates = g.op("Split", weight, outputs=len(order), axis=0, num_outputs=len(order))
    return g.one("Concat", *(gates[i] for i in order), axis=0)


def _kept_positions(g: GraphBuilder) -> str:
    """(B, K, 1) int64: each row's last K positions."""
    zero, one = g.ints(0, scalar=True), g.ints(1, scalar=True)
    slots = g.one("Range", zero, "logits_to_keep", one)  # (K,)
    first = g.one("Unsqueeze", g.one("Sub", "lengths", "logits_to_keep"), g.ints(1))  # (B, 1)
    return g.one("Unsqueeze", g.one("Max", g.one("Add", first, slots), zero), g.ints(2))


def _gather(g: GraphBuilder, x: str, positions: str) -> str:
    """(B, T, D) at (B, K, 1) -> (B, K, D)."""
    return g.one("GatherND", x, positions, batch_dims=1)


def _classifier_head(
    g: GraphBuilder, config: CheckpointConfig, h: str, positions: str, carried: dict[str, str]
) -> tuple[str, list[str]]:
    """(B, K, C) logits and the pools' vectors after each row."""
    assert config.classifier is not None
    axis1, last = g.ints(1), g.ints(-1, scalar=True)
    time = g.one(
        "Range",
        g.ints(0, scalar=True),
        g.one("Squeeze", g.one("Shape", "input_ids", start=1, end=2)),
        g.ints(1, scalar=True),
    )
    real = g.one("Cast", g.one("Less", time, g.one("Unsqueeze", "lengths", axis1)), to=TensorProto.FLOAT)
    real = g.one("Unsqueeze", real, g.ints(2))  # (B, T, 1)
    after_start = g.one("Add", positions, g.ints(1))  # the running sums have the start at index 0
    after: list[str] = []

    def running_sum(x: str, start: str) -> str:
        """(B, T, D), (B, D) -> (B, K, D); notes the sum after the row. The start goes in first: chunks add up in the whole's order."""
        sums = g.one("CumSum", g.one("Concat", g.one("Unsqueeze", start, axis1), x, axis=1), g.ints(1, scalar=True))
        after.append(g.one("Gather", sums, last, axis=1))
        return _gather(g, sums, after_start)

    pooled: list[str] = []
    for pool in config.classifier.pools:
        if pool == "last":
            pooled.append(_gather(g, h, positions))
        elif pool == "mean":
            total = running_sum(g.one("Mul", h, real), carried["mean_sum"])
            pooled.append(g.one("Div", total, running_sum(real, carried["mean_count"])))
        else:
            weight = g.one("Mul", g.one("Exp", g.one("Mul", h, g.weight("sharpness"))), real)
            total = running_sum(g.one("Mul", h, weight), carried["boltzmann_sum"])
            pooled.append(g.one("Div", total, running_sum(weight, carried["boltzmann_weight"])))
    x = g.one("Concat", *pooled, axis=2)
    return g.linear(g.one("Relu", g.linear(x, "head")), "out"), after


def _language_model_head(g: GraphBuilder, trunk: TrunkConfig, h: str) -> str:
    """(B, K, H) -> (B, K, V) through the projection and the tied embedding."""
    x = g.one("Reshape", g.linear(h, "projection"), g.ints(-1, trunk.embedding_dim))  # (B*K, E)
    # Gemm takes the embedding as it lies; MatMul would need a transposed copy.
    scores = g.one("Gemm", x, g.weight("trunk.embedding.weight"), g.weight("bias"), transB=1)
    shape = g.one("Concat", g.one("Shape", h, start=0, end=2), g.ints(trunk.vocab_size), axis=0)
    return g.one("Reshape", scores, shape)


def save_graph(model: onnx.ModelProto, path: Path) -> None:
    """Write and check the graph; its weights file must lie beside it."""
    if not (path.parent / WEIGHTS_FILE).is_file():
        raise FileNotFoundError(path.parent / WEIGHTS_FILE)
    path.write_bytes(model.SerializeToString())
    onnx.checker.check_model(str(path))
