"""PyTorch: what is trained, on what, and how. Offline only; the service never imports it."""

from __future__ import annotations

import os

# OpenMP reads it once, when PyTorch is first imported. Where other processes want the cores too, threads that spin while
# they wait for each other slow the training of a small model down by a factor of 6 to 80.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
