"""Server and load generator don't take each other's time."""

from __future__ import annotations

import os

import pytest

from benchmarks import machine


@pytest.mark.parametrize(
    ("cores", "server", "generator"), [({0, 1}, {0}, {1}), ({2, 5, 7}, {2, 5}, {7}), ({3}, {3}, {3})]
)
def test_the_generator_has_the_last_core_and_the_server_the_others(
    monkeypatch: pytest.MonkeyPatch, cores: set[int], server: set[int], generator: set[int]
) -> None:
    """With a single core there is no choice."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: cores)
    assert machine.cores_apart() == (server, generator)


def test_what_is_confined_is_set_free_again() -> None:
    """The measurements that follow have the whole machine."""
    before = os.sched_getaffinity(0)
    with machine.on_cores({min(before)}):
        assert os.sched_getaffinity(0) == {min(before)}
    assert os.sched_getaffinity(0) == before
