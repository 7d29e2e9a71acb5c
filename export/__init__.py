"""Checkpoint in, verified bundle out. Offline; the service never imports it."""

import service  # noqa: F401  # before the first import of onnxruntime: it switches ONNX Runtime's telemetry off
