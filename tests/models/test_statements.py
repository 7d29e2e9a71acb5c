"""Texts that judge nothing: what is taught of them."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from models.calibration import final_logits
from models.checkpoint import WEIGHTS_FILE, load_checkpoint
from models.classifier import Classifier
from models.corpora import Language, fingerprint
from models.data import encode
from models.data_pack import pack_contents
from models.loop import Run, TrainingError
from models.recipe import Recipe
from models.statements import DIVISOR, NEUTRAL, STATEMENTS, neutral_examples, statements
from models.train import train

MakeRecipe = Callable[..., Recipe]
MakeRun = Callable[..., Run]


@pytest.fixture
def judge(make_recipe: MakeRecipe, make_run: MakeRun) -> Path:
    """A classifier to start from."""
    run = make_run(make_recipe(), "judge")
    train(run)
    return run.out


@pytest.mark.parametrize("language", ["en", "zh"])
def test_neutral_texts_have_one_of_each_choice_and_one_half(language: Language) -> None:
    """A soft label takes no side; one seed draws the same texts."""
    examples = neutral_examples(language, 3_000, seed=0)

    assert len(examples) == 3_000
    assert {e.positive for e in examples} == {0.5}
    assert not [e.text for e in examples if set(e.text) & set("[|]")]
    assert len({e.text for e in examples}) > 1_200
    assert examples == neutral_examples(language, 3_000, seed=0) != neutral_examples(language, 3_000, seed=1)


def test_a_share_of_neutral_texts_trains_and_is_named(make_recipe: MakeRecipe, make_run: MakeRun) -> None:
    """They change the weights, and the checkpoint says that they were read."""
    plain, run = make_run(make_recipe(), "plain"), make_run(make_recipe(), "run")
    run.recipe = run.recipe.model_copy(update={"data": run.recipe.data.model_copy(update={"neutral_share": 0.2})})
    train(plain)
    train(run)

    assert (run.out / WEIGHTS_FILE).read_bytes() != (plain.out / WEIGHTS_FILE).read_bytes()
    rows = {use.name: use.rows for use in load_checkpoint(run.out)[0].training_data}
    assert rows[NEUTRAL] == int(0.2 * sum(rows[name] for name in run.recipe.data.sentiment))


def test_answers_keep_their_side_and_lose_their_firmness(
    make_recipe: MakeRecipe, make_run: MakeRun, corpora: Path, judge: Path
) -> None:
    """Log-odds are divided; held-out sentences are not read; one seed draws the same sentences."""
    run = make_run(make_recipe(data={"sentiment": ["sst2"], "statements": ["commonvoice_en"]}), "run")
    config, model, tokenizer = load_checkpoint(judge)
    assert isinstance(model, Classifier)

    examples, used = statements(run, corpora, model.eval(), config.temperature, tokenizer, set())

    logits = final_logits(model, encode(tokenizer, [e.text for e in examples], False)) / config.temperature
    log_odds = (logits[:, 1] - logits[:, 0]).double()
    taught = torch.tensor([math.log(e.positive / (1 - e.positive)) for e in examples if e.positive is not None])
    assert len(taught) == len(examples) == used[0].rows > 10
    assert torch.allclose(taught * DIVISOR, log_odds.to(taught.dtype), atol=1e-4)
    assert [e.label for e in examples] == (log_odds > 0).int().tolist()
    assert {e.source for e in examples} == {STATEMENTS}
    assert statements(run, corpora, model, config.temperature, tokenizer, set())[0] == examples
    held = {fingerprint(examples[0].text)}
    left = statements(run, corpora, model, config.temperature, tokenizer, held)[0]
    assert examples[0].text not in {e.text for e in left}


def test_a_run_with_statements_goes_on_from_a_classifier_and_names_their_corpus(
    make_recipe: MakeRecipe, make_run: MakeRun, corpora: Path, judge: Path
) -> None:
    """There is nobody else to judge them; a data pack brings them along."""
    recipe = make_recipe(language_model=None, data={"sentiment": ["sst2"], "statements": ["commonvoice_en"]})

    with pytest.raises(TrainingError, match="give --init"):
        train(make_run(recipe, "nothing"))
    run, without = make_run(recipe, "on", init=judge), make_run(recipe, "without", init=judge)
    without.recipe = recipe.model_copy(update={"data": recipe.data.model_copy(update={"statements": ()})})
    train(run)
    train(without)

    assert (run.out / WEIGHTS_FILE).read_bytes() != (without.out / WEIGHTS_FILE).read_bytes()
    config, _, _ = load_checkpoint(run.out)
    assert "commonvoice_en" in {use.name for use in config.training_data}
    assert any("commonvoice_en" in name for name in pack_contents([recipe], corpora))


def test_statements_are_corpora_of_the_language_beside_labelled_ones(make_recipe: MakeRecipe) -> None:
    """A wrong name is told with those that exist."""
    with pytest.raises(ValueError, match=r"data\.statements: no corpus 'commonvoice_zh' in en"):
        make_recipe(data={"sentiment": ["sst2"], "statements": ["commonvoice_zh"]})
    with pytest.raises(ValueError, match="they stand beside corpora"):
        make_recipe(data={"sentiment": [], "statements": ["commonvoice_en"]})
