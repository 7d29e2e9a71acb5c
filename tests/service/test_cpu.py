"""The CPU quota decides how many threads a model run uses."""

from __future__ import annotations

from pathlib import Path

import pytest

from service.cpu import available_cpus, cpu_quota, parse_cfs, parse_cpu_max


@pytest.mark.parametrize(("text", "cpus"), [("200000 100000\n", 2.0), ("50000 100000", 0.5), ("max 100000\n", None)])
def test_cgroup_v2_quota_is_read(text: str, cpus: float | None) -> None:
    """A container limited to two CPUs on a host of 64 has two."""
    assert parse_cpu_max(text) == cpus


@pytest.mark.parametrize(("quota", "cpus"), [("150000\n", 1.5), ("-1\n", None), ("0", None)])
def test_cgroup_v1_quota_is_read(quota: str, cpus: float | None) -> None:
    """Older hosts say it in two files."""
    assert parse_cfs(quota, "100000\n") == cpus


def test_quota_is_found_under_either_version(tmp_path: Path) -> None:
    """The newer one first; none at all is no limit."""
    assert cpu_quota(tmp_path) is None
    (tmp_path / "cpu").mkdir()
    (tmp_path / "cpu/cpu.cfs_quota_us").write_text("300000\n")
    (tmp_path / "cpu/cpu.cfs_period_us").write_text("100000\n")
    assert cpu_quota(tmp_path) == 3.0
    (tmp_path / "cpu.max").write_text("100000 100000\n")
    assert cpu_quota(tmp_path) == 1.0


def test_a_fraction_of_a_cpu_is_one_thread(tmp_path: Path) -> None:
    """Half a CPU still needs a thread to run on."""
    (tmp_path / "cpu.max").write_text("50000 100000\n")
    assert available_cpus(tmp_path) == 1


def test_an_unreadable_quota_is_no_quota(tmp_path: Path) -> None:
    """A kernel that writes something else must not stop the start."""
    (tmp_path / "cpu.max").write_text("surprise\n")
    assert cpu_quota(tmp_path) is None
