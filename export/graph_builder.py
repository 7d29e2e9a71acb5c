"""Collects the nodes and initializers of an ONNX graph whose weights stay in a safetensors file."""

from __future__ import annotations

import json
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

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

    def op(self, kind: str, *inputs: str, outputs: int = 1, **attributes: Any) -> list[str]:
        """A node with fresh output names."""
        self._names += 1
        names = [
            f"{kind.lower()}_{self._names}" if outputs == 1 else f"{kind.lower()}_{self._names}_{i}"
            for i in range(outputs)
        ]
        self.nodes.append(helper.make_node(kind, list(inputs), names, name=names[0], **attributes))
        return names

    def one(self, kind: str, *inputs: str, **attributes: Any) -> str:
        """A node with one output."""
        return self.op(kind, *inputs, **attributes)[0]

    def ints(self, *values: int, scalar: bool = False) -> str:
        """A constant int64 vector, or scalar."""
        self._names += 1
        name = f"ints_{self._names}"
        self.initializers.append(helper.make_tensor(name, TensorProto.INT64, [] if scalar else [len(values)], values))
        return name

    def floats(self, values: npt.ArrayLike) -> str:
        """A constant float32 tensor."""
        self._names += 1
        name = f"floats_{self._names}"
        self.initializers.append(numpy_helper.from_array(np.asarray(values, np.float32), name))
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
        """As torch's Linear: x (..., I) -> (..., O)."""
        transposed = self.one("Transpose", self.weight(f"{layer}.weight"), perm=[1, 0])
        return self.one("Add", self.one("MatMul", x, transposed), self.weight(f"{layer}.bias"))

    def split(self, x: str, sizes: Sequence[int]) -> list[str]:
        """Along axis 1."""
        return self.op("Split", x, self.ints(*sizes), outputs=len(sizes), axis=1)
