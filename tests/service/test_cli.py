"""The command line: answers for people and machines, and refusals that name the file, the setting or the text."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

import rnnserve
from service.cli import app


def run(*arguments: str, stdin: str | None = None, **environment: str) -> Result:
    """Run a command in this process."""
    return CliRunner().invoke(app, list(arguments), input=stdin, env={"COLUMNS": "200", **environment})


def results(ended: Result) -> list[dict[str, object]]:
    """The JSON lines that were printed."""
    assert ended.exit_code == 0, ended.output
    return [json.loads(line) for line in ended.stdout.splitlines()]


def test_predict_prints_a_readable_table(bundles: Path) -> None:
    """One row a text, with label and probability."""
    ended = run("predict", "This movie is not good", "这部电影好看", "--bundles", str(bundles))
    assert ended.exit_code == 0, ended.output
    assert "This movie is not good" in ended.stdout
    assert "sentiment-en@1" in ended.stdout
    assert "sentiment-zh@1" in ended.stdout
    assert "%" in ended.stdout


def test_predict_with_trace_prints_every_token(bundles: Path) -> None:
    """How the prediction came about."""
    ended = run("predict", "这部电影不好看", "--trace", "--bundles", str(bundles))
    assert ended.exit_code == 0, ended.output
    assert all(token in ended.stdout for token in ("这部", "电影", "不", "好看"))


def test_predict_prints_the_next_word(bundles: Path) -> None:
    """As a table, or as JSON with the probability mass that was not searched."""
    table = run("predict", "--next-word", "I will see you tom", "--bundles", str(bundles))
    assert "lm-en@1" in table.stdout
    (words,) = results(run("predict", "--next-word", "--json", "I will see you tom", "--bundles", str(bundles)))
    assert words["model"] == "lm-en@1"
    assert {"prefix", "candidates", "unexplored"} <= words.keys()


def test_predict_reads_lines_and_writes_json_lines(bundles: Path) -> None:
    """Fit for a pipe, however many lines there are."""
    lines = [f"This movie is good {number}" for number in range(600)]
    found = results(run("predict", "--json", "--bundles", str(bundles), stdin="\n".join(lines) + "\n"))
    assert len(found) == 600
    assert found[0]["model"] == "sentiment-en@1"
    assert "trace" not in found[0]


def test_predict_names_the_line_that_it_can_t_read(bundles: Path) -> None:
    """Counted from 1, as editors do."""
    ended = run("predict", "--bundles", str(bundles), stdin="good\n \nbad\n")
    assert ended.exit_code == 2
    assert "text 2: holds no text" in ended.stderr


def test_predict_refuses_bytes_that_are_no_text(bundles: Path) -> None:
    """A shell passes anything; the terminal's encoding makes half characters of it."""
    ended = run("predict", "good \udcff", "--bundles", str(bundles))
    assert ended.exit_code == 2
    assert "surrogate" in ended.stderr


def test_predict_names_an_unknown_model_and_the_known_ones(bundles: Path) -> None:
    """So that the next try is right."""
    ended = run("predict", "good", "--model", "none", "--bundles", str(bundles))
    assert ended.exit_code == 2
    assert "sentiment-en@1" in ended.stderr


def test_models_lists_what_would_be_served(bundles: Path) -> None:
    """For people and for machines."""
    assert "sentiment-en@1" in run("models", "--bundles", str(bundles)).stdout
    listed = json.loads(run("models", "--json", "--bundles", str(bundles)).stdout)
    assert [model["id"] for model in listed] == ["lm-en@1", "lm-zh@1", "sentiment-en@1", "sentiment-zh@1"]


def test_a_wrong_key_for_state_tokens_stops_the_start(bundles: Path) -> None:
    """It is named, and never printed."""
    ended = run("serve", "--bundles", str(bundles), RNNSERVE_STATE_TOKEN__KEYS="c2hvcnQ=")
    assert ended.exit_code == 2
    assert "RNNSERVE_STATE_TOKEN__KEYS" in ended.stderr
    assert "c2hvcnQ" not in ended.stderr


def test_without_pytorch_the_training_commands_say_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """The serving image has none, and its users read the same documentation."""
    monkeypatch.setattr(rnnserve, "has", lambda module: False)
    for command in ("train", "evaluate", "export"):
        ended = CliRunner().invoke(rnnserve.build(command), [command, "--whatever", "x"])
        assert ended.exit_code == 2
        assert "make train-tools" in ended.stderr
    assert CliRunner().invoke(rnnserve.build(), ["--help"]).exit_code == 0


@pytest.fixture
def one_bundle(bundles: Path, tmp_path: Path) -> Path:
    """A folder with a copy of one bundle, to be damaged."""
    shutil.copytree(bundles / "sentiment-en", tmp_path / "bundles" / "sentiment-en")
    return tmp_path / "bundles" / "sentiment-en"


@pytest.mark.parametrize("name", ["model.onnx", "model.safetensors", "tokenizer.json", "manifest.json", "config.json"])
@pytest.mark.parametrize("damage", ["missing", "altered", "half"])
def test_a_damaged_bundle_stops_the_start_and_the_file_is_named(one_bundle: Path, name: str, damage: str) -> None:
    """With what to do, and no traceback."""
    path = one_bundle / name
    content = path.read_bytes()
    if damage == "missing":
        path.unlink()
    elif damage == "half":
        path.write_bytes(content[: len(content) // 2])
    elif name == "manifest.json":
        path.write_bytes(content.replace(b'"gru"', b'"lstm"').replace(b'"cell"', b'"sell"'))
    else:
        path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))

    ended = run("serve", "--bundles", str(one_bundle.parent))

    assert ended.exit_code == 1
    assert str(path) in ended.stderr
    assert "export" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_newer_manifest_is_refused_with_both_versions(one_bundle: Path) -> None:
    """The operator learns that it is rnnserve that is old."""
    path = one_bundle / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"schema_version": 2}))

    ended = run("serve", "--bundles", str(one_bundle.parent))

    assert ended.exit_code == 1
    assert "schema version 2, newer than 1" in ended.stderr


def test_a_bundle_that_fails_its_self_test_is_not_served(one_bundle: Path) -> None:
    """The hashes fit, the numbers don't: the worker refuses."""
    path = one_bundle / "manifest.json"
    manifest = json.loads(path.read_text())
    manifest["self_test"]["logits"][0][0] += 1.0
    path.write_text(json.dumps(manifest))

    ended = run("predict", "good", "--bundles", str(one_bundle.parent))

    assert ended.exit_code == 1
    assert "self-test" in ended.stderr
    assert run("serve", "--bundles", str(one_bundle.parent)).exit_code != 0


@pytest.mark.parametrize(("name", "value"), [("RNNSERVE_PROT", "1"), ("RNNSERVE_PORT", "many")])
def test_a_wrong_setting_stops_the_start_and_is_named(bundles: Path, name: str, value: str) -> None:
    """Misspelt or out of range, nothing is ignored."""
    ended = run("serve", "--bundles", str(bundles), **{name: value})
    assert ended.exit_code == 2
    assert name.lower().removeprefix("rnnserve_") in ended.stderr.lower()
    assert "Traceback" not in ended.stderr


def test_no_bundles_at_all_is_said_with_the_remedy(tmp_path: Path) -> None:
    """Neither a missing folder nor an empty one is served."""
    assert "holds no bundle" in run("serve", "--bundles", str(tmp_path)).stderr
    assert "is not a folder" in run("serve", "--bundles", str(tmp_path / "none")).stderr
