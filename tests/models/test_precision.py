"""Tests of models/precision.py."""

from __future__ import annotations

import pytest
import torch

from models.precision import autocast, low_precision


@pytest.mark.parametrize(
    ("capabilities", "expected"),
    [
        ({"avx2": True, "avx512_bf16": False, "amx_bf16": False}, torch.float32),
        ({"avx2": True, "avx512_bf16": True, "amx_bf16": False}, torch.float32),
        ({"avx2": True, "avx512_bf16": True, "amx_bf16": True}, torch.bfloat16),
        ({"neon": True, "bf16": True}, torch.bfloat16),
    ],
)
def test_a_cpu_trains_in_bfloat16_only_if_that_is_faster(
    monkeypatch: pytest.MonkeyPatch, capabilities: dict[str, bool], expected: torch.dtype
) -> None:
    """Emulated it takes nine times as long as float32, with AVX-512 alone 1.4 times. A GPU needs no such question."""
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities)

    assert low_precision("cpu") is expected
    assert low_precision("cuda") is torch.bfloat16
    with autocast("cpu"):
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype is expected
