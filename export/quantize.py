"""An int8 LSTM layer whose results do not depend on batch mates or chunking.

ONNX Runtime's ``DynamicQuantizeLSTM`` is 2.4 to 3 times as fast as its float32 LSTM, but takes the scale of its 8-bit
inputs from the smallest and largest number it meets in each call, over all rows: what stands beside a text changes its
answer. Here that range is pinned. Every row gets two inputs and two hidden units more, constant at +1 and -1 (a cell that
starts at +-30, keeps itself and forgets nothing), and the other inputs are scaled into -1..1, where an LSTM's output lies
anyway. So the range is -1..1 in every call, the scale is a constant, and a row's numbers are its own, bit for bit.

Weights are rounded per output column at load, from the same float16 weights file, to 7 bits of the 8: so every processor
computes the same. Without VNNI two products of an input (0..255) and a weight are added in 16 bits, which 127 overflows.
"""

from __future__ import annotations

from onnx import TensorProto

from export.graph_builder import GraphBuilder
from models.trunk import TrunkConfig

PINNED = 2  # extra units: one at +1, one at -1
SATURATED = 40.0  # sigmoid(40) and tanh(30) are 1 in float32
CELL_START = 30.0
LARGEST_WEIGHT = 64  # 2 * 255 * 64 < 2 ** 15


def scaled_embedding(g: GraphBuilder, embedding: str) -> tuple[str, str]:
    """The embedding (V, E) with every column divided by its largest magnitude, and those magnitudes (E,)."""
    largest = g.one("ReduceMax", g.one("Abs", embedding), g.ints(0), keepdims=0)
    largest = g.one("Max", largest, g.floats([1e-6]))
    return g.one("Div", embedding, largest), largest


def quantized_lstm(
    g: GraphBuilder,
    config: TrunkConfig,
    weights: dict[str, str],
    x: str,
    lengths: str,
    start: list[str],
    column_scale: str | None,
) -> tuple[str, list[str]]:
    """One layer.

    Args:
        g: the graph.
        config: sizes.
        weights: ``w`` (4H, I), ``r`` (4H, H) and ``b`` (8H,) in ONNX's gate order i, o, f, c.
        x: (T, B, I) inputs in -1..1, the pinned ones not among them.
        lengths: (B,) int32.
        start: h and c, each (1, B, H).
        column_scale: (I,) what the inputs were divided by; None where they were not.

    Returns:
        (T, 1, B, H) the output, and h and c after each row, each (1, B, H).
    """
    hidden, wide = config.hidden_size, config.hidden_size + PINNED
    w = weights["w"] if column_scale is None else g.one("Mul", weights["w"], column_scale)
    quantized = [*_quantized(g, w, hidden), *_quantized(g, weights["r"], hidden)]
    w_int8, w_scale, w_zero, r_int8, r_scale, r_zero = quantized
    bias = g.one("Reshape", weights["b"], g.ints(8, hidden))
    bias = g.one(
        "Concat", bias, g.floats([[v] * PINNED for v in (-SATURATED, SATURATED, SATURATED, 0, 0, 0, 0, 0)]), axis=1
    )
    bias = g.one("Reshape", bias, g.ints(1, 8 * wide))
    rows = g.one("Shape", lengths)
    y, h, c = g.op(
        "DynamicQuantizeLSTM",
        _pinned(g, x, g.one("Shape", x, start=0, end=2), 1.0),
        w_int8,
        r_int8,
        bias,
        lengths,
        *(
            _pinned(g, vector, g.one("Concat", g.ints(1), rows, axis=0), value)
            for vector, value in zip(start, (1.0, CELL_START), strict=True)
        ),
        "",
        w_scale,
        w_zero,
        r_scale,
        r_zero,
        outputs=3,
        domain="com.microsoft",
        hidden_size=wide,
    )
    zero, size = g.ints(0), g.ints(hidden)
    y = g.one("Slice", y, zero, size, g.ints(3))
    return y, [g.one("Slice", end, zero, size, g.ints(2)) for end in (h, c)]


def _pinned(g: GraphBuilder, x: str, leading: str, value: float) -> str:
    """(A, B, D) with two more columns, +value and -value; ``leading`` is [A, B]."""
    shape = g.one("Concat", leading, g.ints(PINNED), axis=0)
    return g.one("Concat", x, g.one("Expand", g.floats([[[value, -value]]]), shape), axis=2)


def _quantized(g: GraphBuilder, weight: str, hidden: int) -> tuple[str, str, str]:
    """(4H, I) -> int8 (1, I+2, 4(H+2)), scale and zero point (1, 4(H+2)); pinned columns and rows are zero."""
    stacked = g.one("Reshape", weight, g.ints(4, hidden, -1))
    stacked = g.one("Pad", stacked, g.ints(0, 0, 0, 0, PINNED, PINNED))
    columns = g.one("Transpose", stacked, perm=[2, 0, 1])  # (I+2, 4, H+2)
    columns = g.one("Unsqueeze", g.one("Flatten", columns, axis=1), g.ints(0))  # (1, I+2, 4(H+2))
    largest = g.one("Max", g.one("ReduceMax", g.one("Abs", columns), g.ints(1), keepdims=0), g.floats([1e-12]))
    scale = g.one("Div", largest, g.floats([float(LARGEST_WEIGHT)]))
    rounded = g.one("Round", g.one("Div", columns, g.one("Unsqueeze", scale, g.ints(1))))
    zero = g.one("Cast", g.one("Mul", scale, g.floats([0.0])), to=TensorProto.INT8)
    return g.one("Cast", rounded, to=TensorProto.INT8), scale, zero
