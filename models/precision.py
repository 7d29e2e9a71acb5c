"""The precision of training's matrix products: bfloat16 where the device has instructions for it, else float32."""

from __future__ import annotations

import torch


def low_precision(device: str) -> torch.dtype:
    """bfloat16 on CUDA and on CPUs that multiply it; another CPU has to emulate it, at a ninth of the pace of float32 (AVX2)."""
    native = device == "cuda" or any(has for name, has in torch.cpu.get_capabilities().items() if name.endswith("bf16"))
    return torch.bfloat16 if native else torch.float32


def autocast(device: str) -> torch.autocast:
    """Recurrent layers and matrix products in :func:`low_precision`."""
    low = low_precision(device)
    return torch.autocast(device, torch.bfloat16, enabled=low is torch.bfloat16)
