"""What an installation promises as a whole: what it needs, what it leaves out, what it does not send."""

import itertools
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent


def run_python(code: str) -> str:
    """Run ``code`` in a fresh interpreter, where nothing has been imported and the opt-out is not inherited."""
    environment = {name: value for name, value in os.environ.items() if name != "ORT_DISABLE_TELEMETRY"}
    command = [sys.executable, "-c", code]
    return subprocess.run(command, capture_output=True, check=True, cwd=ROOT, env=environment, text=True).stdout


@pytest.mark.parametrize("package", ["service", "export"])
def test_onnx_runtime_starts_with_telemetry_off(package: str) -> None:
    """The opt-out counts only if it is set before onnxruntime is first imported."""
    probe = f"import {package}, sys, os; print('onnxruntime' in sys.modules, os.environ['ORT_DISABLE_TELEMETRY'])"

    assert run_python(probe) == "False 1\n"


def read_project() -> dict[str, Any]:
    """The ``project`` table of pyproject.toml."""
    table: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return table


def test_every_dependency_is_pinned() -> None:
    """An install with constraints.txt gives the versions that were tested, today and in a year."""
    project = read_project()
    extras = itertools.chain.from_iterable(project["optional-dependencies"].values())
    wanted = {re.split(r"[\[<>=;]", line)[0].lower() for line in itertools.chain(project["dependencies"], extras)}
    pinned = set(
        re.findall(r"^([a-z0-9-]+)==\S+$", (ROOT / "constraints.txt").read_text(encoding="utf-8"), re.MULTILINE)
    )

    assert wanted - {project["name"]} <= pinned


def test_constraints_name_no_package_index() -> None:
    """Where packages come from is the installer's choice: a file with an address works on one machine only."""
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()

    assert [
        line for line in lines if line and not line.startswith("#") and not re.fullmatch(r"[a-z0-9-]+==[\w.]+", line)
    ] == []


def test_torch_is_in_the_training_extra_only() -> None:
    """The serving image has no PyTorch."""
    project = read_project()

    assert not any(line.startswith("torch") for line in project["dependencies"])
    assert any(line.startswith("torch==") for line in project["optional-dependencies"]["train"])


def test_a_checkout_has_the_benchmarks_from_any_folder(tmp_path: Path) -> None:
    """They are not installed, and `rnnserve bench` is what the Makefile calls."""
    command = [sys.executable, str(ROOT / "rnnserve.py"), "bench", "--help"]

    answer = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)

    assert answer.returncode == 0, answer.stderr
    assert "peers" in answer.stdout
