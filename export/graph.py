"""Checkpoint -> ONNX graph: one signature for every cell and both tasks, weights left where they are.

Inputs: ``input_ids`` (B, T) int64, ``lengths`` (B,) int64 in 1..T, ``state`` (B, S) float32 (zeros start a text), and
``logits_to_keep`` () int64, K in 1..T. Outputs: ``next_state`` (B, S) after each row's own length, ``logits`` (B, K, N) at the row's
last K positions (slot j is position ``lengths - K + j``, held at 0 for shorter rows).

The graph holds no weights: its initializers are external data that point into ``model.safetensors``, in PyTorch's own
layout and float16. ``Cast``, ``Split`` and ``Concat`` bring them into ONNX's gate order; ONNX Runtime folds that at load.
"""

from __future__ import annotations

from pathlib import Path

import onnx
from onnx import TensorProto, helper

from export.graph_builder import GraphBuilder
from export.quantize import quantized_lstm, scaled_embedding
from models.checkpoint import WEIGHTS_FILE, CheckpointConfig
from models.classifier import ClassifierConfig
from models.trunk import TrunkConfig
from service.bundle import Precision

OPSET = 21
# Gate order: torch's -> ONNX's, as positions. LSTM i,f,g,o -> i,o,f,c; GRU r,z,n -> z,r,h.
GATES = {"rnn": (0,), "lstm": (0, 3, 1, 2), "gru": (1, 0, 2)}
OPERATORS = {"rnn": "RNN", "lstm": "LSTM", "gru": "GRU"}


def build_graph(config: CheckpointConfig, weights: Path, precision: Precision = "float32") -> onnx.ModelProto:
    """The graph of a checkpoint.

    Args:
        config: its architecture.
        weights: its safetensors file, read for its offsets alone.
        precision: of the recurrent layers; int8 for LSTM only.

    Raises:
        ValueError: int8 is asked for a cell that has no int8 operator.
    """
    g = GraphBuilder(weights)
    architecture = config.architecture
    trunk = architecture.trunk
    pool_sizes = architecture.pool_sizes() if isinstance(architecture, ClassifierConfig) else {}
    vectors = [trunk.hidden_size] * (trunk.num_layers * trunk.vectors_per_layer)
    parts = g.split("state", [*vectors, *pool_sizes.values()]) if len(vectors) + len(pool_sizes) > 1 else ["state"]
    h, after = _trunk(g, trunk, parts[: len(vectors)], precision)  # (B, T, H)
    positions = _kept_positions(g)  # (B, K, 1)
    if isinstance(architecture, ClassifierConfig):
        carried = dict(zip(pool_sizes, parts[len(vectors) :], strict=True))
        logits, pools_after = _classifier_head(g, architecture, h, positions, carried)
        after += pools_after
        outputs = len(architecture.labels)
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
    model = helper.make_model(
        graph,
        opset_imports=[helper.make_opsetid("", OPSET), helper.make_opsetid("com.microsoft", 1)],
        producer_name="rnnserve",
    )
    model.ir_version = 10
    return model


def _trunk(g: GraphBuilder, config: TrunkConfig, state: list[str], precision: Precision) -> tuple[str, list[str]]:
    """(B, T, H) the last layer's output, and each layer's end vectors (B, H)."""
    if precision == "int8" and config.cell != "lstm":
        raise ValueError(f"ONNX Runtime has no int8 operator for {config.cell}; int8 needs an LSTM")
    embedding, column_scale = g.weight("trunk.embedding.weight"), None
    if precision == "int8":
        embedding, column_scale = scaled_embedding(g, embedding)
    x = g.one("Gather", embedding, g.one("Transpose", "input_ids", perm=[1, 0]))  # (T, B, E)
    lengths = g.one("Cast", "lengths", to=TensorProto.INT32)
    first, directions = g.ints(0), g.ints(1)
    after: list[str] = []
    for depth in range(config.num_layers):
        layer = f"trunk.layers.{depth}"
        w, r = (_reordered(g, config, f"{layer}.{name}") for name in ("weight_ih_l0", "weight_hh_l0"))
        b = g.one(
            "Concat", *(_reordered(g, config, f"{layer}.{name}") for name in ("bias_ih_l0", "bias_hh_l0")), axis=0
        )
        start = [
            g.one("Unsqueeze", vector, first)
            for vector in state[depth * config.vectors_per_layer :][: config.vectors_per_layer]
        ]
        if precision == "int8":
            scale = column_scale if depth == 0 else None
            y, ends = quantized_lstm(g, config, {"w": w, "r": r, "b": b}, x, lengths, start, scale)
        else:
            # torch multiplies the reset gate in after the recurrent product; ONNX calls that linear_before_reset.
            extra = {"linear_before_reset": 1} if config.cell == "gru" else {}
            y, *ends = g.op(
                OPERATORS[config.cell],
                x,
                *(g.one("Unsqueeze", weight, first) for weight in (w, r, b)),
                lengths,
                *start,
                outputs=1 + len(start),
                hidden_size=config.hidden_size,
                **extra,
            )
        x = g.one("Squeeze", y, directions)  # (T, 1, B, H) -> (T, B, H)
        after += [g.one("Squeeze", end, first) for end in ends]
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
    g: GraphBuilder, config: ClassifierConfig, h: str, positions: str, carried: dict[str, str]
) -> tuple[str, list[str]]:
    """(B, K, C) logits and the pools' vectors after each row."""
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
    for pool in config.pools:
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
    features = g.one("Relu", g.linear(x, "head"))
    logits = g.linear(features, "out")
    if config.text_temperature:
        inputs = features
        if config.kinds:
            inputs = g.one(
                "Concat", features, g.one("Softmax", g.linear(features, "temperature.kinds"), axis=-1), axis=2
            )
        log_temperature = g.one("Tanh", g.linear(inputs, "temperature"))  # (B, K, 1)
        logits = g.one("Div", logits, g.one("Exp", log_temperature))
    return logits, after


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
