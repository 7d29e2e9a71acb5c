"""Tests of models/calibration.py."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from models.calibration import (
    EACH,
    KINDS,
    ONE,
    DevPart,
    calibrate,
    dev_part,
    final_logits,
    fit_temperature,
    uncalibrated,
)
from models.classifier import Classifier, ClassifierConfig
from models.trunk import TrunkConfig


def tiny_classifier(head_size: int = 64) -> Classifier:
    torch.manual_seed(0)
    trunk = TrunkConfig(cell="gru", vocab_size=9, embedding_dim=3, hidden_size=4)
    return Classifier(ClassifierConfig(trunk=trunk, head_size=head_size)).eval()


def answers(temperatures: tuple[float, float], rows: int = 6_000, ways: int = 1) -> DevPart:
    """Texts of two kinds, told apart by the first feature, whose labels are drawn at a true temperature of each kind."""
    generator = torch.Generator().manual_seed(0)
    kind = torch.arange(rows) % 2
    features = torch.randn(rows, 64, generator=generator).abs()
    features[:, 0] = kind.float() * 2
    logits = torch.randn(rows, 2, generator=generator) * 3
    true = torch.softmax(logits / torch.tensor(temperatures)[kind, None], dim=1)
    labels = torch.multinomial(true, 1, generator=generator)[:, 0]
    return DevPart(features.expand(ways, -1, -1), logits.expand(ways, -1, -1), labels)


def found_temperatures(model: Classifier, part: DevPart) -> tuple[float, float]:
    """Mean of what a calibrated model divides the logits of each kind by, apart from what it divides all by."""
    with torch.no_grad():
        each = model.temperature(part.features[0])[:, 0]
    return float(each[0::2].mean()), float(each[1::2].mean())


def test_texts_of_two_kinds_get_a_temperature_each() -> None:
    """One temperature for all would make one kind too sure and the other too unsure."""
    part = answers((0.8, 2.4))
    found = calibrate(tiny_classifier(), [part])

    assert found.model.config.text_temperature
    assert found.nll[EACH] < found.nll[ONE]
    assert KINDS not in found.nll  # one source is no kind of its own
    easy, hard = (found.temperature * each for each in found_temperatures(found.model, part))
    assert easy == pytest.approx(0.8, rel=0.15)
    assert hard == pytest.approx(2.4, rel=0.15)


def test_two_ways_of_writing_a_text_count_like_one() -> None:
    """A text and its twin are never on both sides of the cross-validation, so nothing looks surer than it is."""
    once, twice = (calibrate(tiny_classifier(), [answers((0.8, 2.4), 2_000, ways)]) for ways in (1, 2))

    assert once.nll
    assert twice.nll == pytest.approx(once.nll, abs=1e-3)


def test_a_kind_between_two_others_gets_its_own_temperature() -> None:
    """No linear function of the features makes texts in the middle surer than those on both sides; likeness to their source does."""
    parts = []
    for place, temperature in enumerate((2.4, 0.8, 2.4)):
        part = answers((temperature, temperature), 2_000)
        part.features[:, :, 0] = place * 2.0
        parts.append(part)
    found = calibrate(tiny_classifier(), parts)

    assert found.model.config.kinds == 3
    assert found.nll[KINDS] < min(found.nll[ONE], found.nll[EACH])
    each = [found.temperature * sum(found_temperatures(found.model, part)) / 2 for part in parts]
    assert each == pytest.approx([2.4, 0.8, 2.4], rel=0.2)
    assert uncalibrated(found.model).config == tiny_classifier().config


def test_where_texts_do_not_differ_one_temperature_stays() -> None:
    """Sixty-four features always explain something of the texts that were fitted on; left-out texts tell."""
    model = tiny_classifier()
    found = calibrate(model, [answers((1.5, 1.5), 1_200)])

    assert found.model is model
    assert found.temperature == pytest.approx(1.5, rel=0.1)


@pytest.mark.parametrize("rows", [40, 600])
def test_few_dev_texts_do_not_give_each_text_a_temperature(rows: int) -> None:
    """A user's first hundred texts say nothing about sixty-four numbers, and fifty nothing about one."""
    model = tiny_classifier()
    found = calibrate(model, [answers((0.5, 3.0), rows)], otherwise=1.3)

    assert found.model is model
    assert not found.nll
    assert (found.temperature == 1.3) == (rows == 40)


@torch.no_grad()
def test_a_temperature_for_each_text_changes_no_verdict_and_can_be_taken_off_again() -> None:
    """It only scales the logits; further training starts without it."""
    model = tiny_classifier()
    calibrated = calibrate(model, [answers((0.5, 3.0))]).model
    ids, lengths = torch.tensor([[1, 2, 3, 4], [5, 6, 7, 8]]), torch.tensor([4, 2])
    before, state = model(ids, lengths)
    after, same_state = calibrated(ids, lengths)

    assert torch.equal(state, same_state)
    ratio = after / before
    torch.testing.assert_close(ratio[..., :1].expand_as(ratio), ratio)
    assert bool(((ratio > 1 / np.e) & (ratio < np.e)).all())
    assert not torch.allclose(ratio, torch.ones_like(ratio))
    plain = uncalibrated(calibrated)
    assert plain.config == model.config
    assert torch.equal(plain(ids, lengths)[0], before)
    assert uncalibrated(model) is model


@torch.no_grad()
def test_a_dev_part_holds_what_the_model_says_of_each_way_of_writing() -> None:
    """Features are those that logits are made of, in the order of the texts."""
    model = tiny_classifier()
    ways = [[np.array(ids, np.int32) for ids in way] for way in ([[1, 2, 3], [4]], [[1, 2], [4]])]

    part = dev_part(model, ways, [1, 0])

    assert part.features.shape == (2, 2, 64)
    assert part.labels.tolist() == [1, 0]
    for way, logits, features in zip(ways, part.logits, part.features, strict=True):
        assert torch.equal(logits, final_logits(model, way))
        torch.testing.assert_close(F.linear(features, model.out.weight, model.out.bias), logits)


@pytest.mark.parametrize("true_temperature", [0.6, 1.0, 2.5])
def test_calibration_finds_the_temperature(true_temperature: float) -> None:
    """Labels drawn from softmax(logits / t) give t back."""
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(20_000, 2, generator=generator) * 3
    labels = torch.multinomial(torch.softmax(logits / true_temperature, dim=1), 1, generator=generator)[:, 0]

    assert fit_temperature([(logits, labels)]) == pytest.approx(true_temperature, rel=0.06)


def test_a_few_texts_do_not_decide_the_temperature() -> None:
    """All right on ten texts would mean "always be certain"."""
    logits = torch.tensor([[0.0, 2.0]] * 10)

    assert fit_temperature([(logits, torch.ones(10, dtype=torch.int64))]) == 1.0
    assert fit_temperature([]) == 1.0
    assert fit_temperature([(logits, torch.ones(10, dtype=torch.int64))], otherwise=1.3) == 1.3


def test_final_logits_keep_the_order_of_the_texts() -> None:
    """Batched by length, returned as given; an empty text gets zeros."""
    model = tiny_classifier()
    texts = [np.array(ids, np.int32) for ids in ([1, 2, 3], [], [4], [5, 6, 7, 8], [2, 2])]

    found = final_logits(model, texts, max_tokens=6)

    assert found[1].tolist() == [0, 0]
    for i in (0, 2, 3, 4):
        with torch.no_grad():
            alone, _ = model(torch.from_numpy(texts[i]).long()[None], torch.tensor([len(texts[i])]), final_only=True)
        assert torch.allclose(found[i], alone[0], atol=1e-6)
