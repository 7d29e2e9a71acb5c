"""How many CPUs this process may use: the container's quota, not the host's cores."""

from __future__ import annotations

import math
import os
from pathlib import Path

CGROUP_ROOT = Path("/sys/fs/cgroup")


def parse_cpu_max(text: str) -> float | None:
    """CPUs that a cgroup v2 ``cpu.max`` grants ("200000 100000" is 2); None where it grants all.

    Raises:
        ValueError: the text has another form.
    """
    quota, _, period = text.strip().partition(" ")
    return None if quota == "max" else int(quota) / int(period or 100_000)


def parse_cfs(quota_us: str, period_us: str) -> float | None:
    """CPUs that cgroup v1's ``cpu.cfs_quota_us`` and ``cpu.cfs_period_us`` grant; None where they grant all.

    Raises:
        ValueError: a text isn't a number.
    """
    return None if int(quota_us) <= 0 else int(quota_us) / int(period_us)


def cpu_quota(root: Path = CGROUP_ROOT) -> float | None:
    """The container's CPU quota, from cgroup v2 or v1 under ``root``; None without one."""
    try:
        return parse_cpu_max((root / "cpu.max").read_text())
    except (OSError, ValueError):
        pass
    try:
        return parse_cfs((root / "cpu/cpu.cfs_quota_us").read_text(), (root / "cpu/cpu.cfs_period_us").read_text())
    except (OSError, ValueError):
        return None


def available_cpus(root: Path = CGROUP_ROOT) -> int:
    """Whole CPUs this process may use, at least 1: the smaller of its affinity and its quota, the quota rounded up."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = cpu_quota(root)
    return max(1, cores if quota is None else min(cores, math.ceil(quota)))
