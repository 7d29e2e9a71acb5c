"""Bundle in, HTTP out."""

import os

# ONNX Runtime's official Linux builds send usage data to their maker from version 1.29 on (model file name, operators,
# weight hashes; its Privacy.md). Reading this before its first import is its only complete opt-out.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
