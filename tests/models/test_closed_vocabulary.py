"""Tests of models/closed_vocabulary.py: reading, training and measuring a benchmark, on tiny text in its layout."""

from __future__ import annotations

import gzip
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from models import stages
from models.checkpoint import METRICS_FILE, WEIGHTS_FILE, load_checkpoint
from models.closed_vocabulary import check_words, perplexities, word_tokenizer
from models.corpora import CLOSED_TEXT, CorpusError, closed_text
from models.data import IdArray, encode, stream_batches
from models.data_pack import corpora_folder, write_pack
from models.language_model import LanguageModel
from models.loop import Run
from models.recipe import Recipe
from models.train import train

MakeRecipe = Callable[..., Recipe]
MakeRun = Callable[..., Run]
SECTION = {"epochs": 2, "rows": 4, "bptt": 16, "warmup_steps": 2, "reset_probability": 0.0, "recurrent_dropout": 0.3}


def closed_recipe(make_recipe: MakeRecipe, **section: Any) -> Recipe:
    return make_recipe("language-model", "lstm", data={"closed": "ptb"}, language_model=SECTION | section)


def test_a_benchmark_is_read_as_a_stream_of_lines(tmp_path: Path) -> None:
    """Blank lines are lines, other white space between words means nothing, and each line ends in <eos>."""
    (tmp_path / "lm_ptb").mkdir()
    with gzip.open(tmp_path / "lm_ptb/train.txt.gz", "wt", encoding="utf-8", newline="\n") as file:
        file.write(" = a  b = \n\n <unk> N \n")

    lines, use = closed_text(tmp_path, "ptb", "train")

    assert lines == ["= a b = <eos>", "<eos>", "<unk> N <eos>"]
    assert (use.name, use.rows, use.licence) == ("ptb", 3, CLOSED_TEXT["ptb"].licence)


def test_the_vocabulary_is_the_words_and_nothing_else() -> None:
    """No special tokens: their probability would be lost to the words, and perplexities could not be compared."""
    lines = ["b don't a, <eos>", "<unk> a, <eos>"]
    tokenizer = word_tokenizer(lines)

    assert tokenizer.get_vocab() == {"<eos>": 0, "a,": 1, "<unk>": 2, "b": 3, "don't": 4}
    assert [ids.tolist() for ids in encode(tokenizer, lines)] == [[3, 4, 1, 0], [2, 1, 0]]


def test_a_word_outside_the_vocabulary_is_named() -> None:
    """Read as <unk> in silence, it would make the perplexity too good."""
    with pytest.raises(CorpusError, match="ptb's test part holds 'zebra', which is no word of the closed vocabulary"):
        check_words(word_tokenizer(["a <unk> <eos>"]), ["a <eos>", "a zebra <eos>"], "ptb's test part")


def test_training_measures_valid_and_test(make_recipe: MakeRecipe, make_run: MakeRun) -> None:
    """Both perplexities are in metrics.json and in the log; a few hundred steps bring them well below a uniform guess."""
    run = make_run(closed_recipe(make_recipe, epochs=30, learning_rate=0.02))

    metrics = train(run)

    config, module, tokenizer = load_checkpoint(run.out)
    found = metrics["stages"]["language-model"]["perplexity"]
    assert json.loads((run.out / METRICS_FILE).read_text()) == metrics
    assert isinstance(module, LanguageModel)
    assert tokenizer.get_vocab_size() == config.architecture.trunk.vocab_size == 8
    assert [use.name for use in config.training_data] == ["ptb"]
    assert 1 < found["valid"] < 5
    assert 1 < found["test"] < 5
    assert f"ptb test: perplexity {found['test']:.2f} over 432 tokens" in run.console.file.getvalue()  # type: ignore[attr-defined]


def test_perplexity_counts_every_token_once_in_one_stream(
    make_recipe: MakeRecipe, make_run: MakeRun, corpora: Path
) -> None:
    """The first token follows an <eos>, the last one counts, and where the reading pauses changes nothing."""
    run = make_run(closed_recipe(make_recipe, epochs=1))
    train(run)
    _, module, tokenizer = load_checkpoint(run.out)
    assert isinstance(module, LanguageModel)
    lines, _ = closed_text(corpora, "ptb", "valid")
    words = tokenizer.encode(" ".join(lines)).ids
    before = [tokenizer.token_to_id("<eos>"), *words[:-1]]

    with torch.no_grad():
        logits, _ = module(torch.tensor([before]))
    expected = math.exp(float(F.cross_entropy(logits[0].double(), torch.tensor(words))))

    assert perplexities(run, corpora, "ptb", module, tokenizer)["valid"] == pytest.approx(expected, rel=1e-5)


def test_the_stream_is_never_shuffled(
    make_recipe: MakeRecipe, make_run: MakeRun, corpora: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every epoch reads the same tokens in the same order, begun somewhere else within the first ``bptt``."""
    streams: list[IdArray] = []

    def noted(stream: IdArray, *how: Any) -> Any:
        streams.append(stream)
        return stream_batches(stream, *how)

    monkeypatch.setattr(stages, "stream_batches", noted)
    run = make_run(closed_recipe(make_recipe, epochs=3))
    train(run)

    tokenizer = load_checkpoint(run.out)[2]
    whole = np.concatenate(encode(tokenizer, closed_text(corpora, "ptb", "train")[0]))
    begun = [
        next(n for n in range(16) if np.array_equal(np.roll(whole, -n), s)) for s in streams if len(s) == len(whole)
    ]
    assert len(set(begun)) > 1


def test_a_pack_brings_the_parts_that_are_measured(
    make_recipe: MakeRecipe, make_run: MakeRun, corpora: Path, tmp_path: Path
) -> None:
    """The training machine trains and measures from this one file as from the folder."""
    recipe = closed_recipe(make_recipe)
    write_pack([recipe], corpora, tmp_path / "pack", 40_000_000)
    from_folder = train(make_run(recipe, "a"))

    with corpora_folder(tmp_path / "pack") as folder:
        from_pack = train(make_run(recipe, "b", data=folder))

    assert (tmp_path / "a" / WEIGHTS_FILE).read_bytes() == (tmp_path / "b" / WEIGHTS_FILE).read_bytes()
    stage = "language-model"
    assert from_pack["stages"][stage]["perplexity"] == from_folder["stages"][stage]["perplexity"]


def test_a_start_with_another_vocabulary_is_refused(make_recipe: MakeRecipe, make_run: MakeRun) -> None:
    """A perplexity over an open vocabulary's pieces is not that of the benchmark."""
    train(make_run(make_recipe("language-model", "lstm"), "open"))
    run = make_run(closed_recipe(make_recipe), "closed")
    run.init = run.out.with_name("open")

    with pytest.raises(CorpusError, match=r"ptb's train part holds .* no word of the closed vocabulary"):
        train(run)
