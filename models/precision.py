"""The precision of training's matrix products: bfloat16 where the device is faster in it, else float32."""

from __future__ import annotations

import torch

SLOW = "avx512_bf16"  # without AMX: a GRU of 384 trains at 0.7 of float32's pace


def low_precision(device: str) -> torch.dtype:
    """bfloat16 on CUDA and on CPUs with matrix instructions for it; others are slower in it than in float32, or have to emulate it."""
    capable = {name for name, has in torch.cpu.get_capabilities().items() if has and name.endswith("bf16")}
    return torch.bfloat16 if device == "cuda" or capable - {SLOW} else torch.float32


def autocast(device: str) -> torch.autocast:
    """Recurrent layers and matrix products in :func:`low_precision`."""
    low = low_precision(device)
    return torch.autocast(device, torch.bfloat16, enabled=low is torch.bfloat16)
