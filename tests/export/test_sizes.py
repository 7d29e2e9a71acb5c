"""Tests of ``export/sizes.py`` and ``export/plots.py`` on made-up reports."""

from __future__ import annotations

from pathlib import Path

import pytest

from export.evaluate import Report, recipe_fingerprint
from export.plots import plot_speed, wide_enough
from export.sizes import mean_score, rank_by_dev, seed_table, shared_titles, size_sections, size_table, speed_panels


def report(
    perplexity: float,
    *,
    further: bool = True,
    hidden_size: int = 256,
    seed: int = 0,
    recipe: str = "r",
    more: float | None = None,
) -> Report:
    """An English language model with a perplexity on one corpus, or two."""
    perplexities = {"masc": perplexity} | ({} if more is None else {"sgd": more})
    return Report(
        model="lm-en@1", task="language-model", language="en", cell="gru", num_layers=1, hidden_size=hidden_size, embedding_dim=128,
        parameters=1_000_000, precision="float32", further=further, seed=seed, recipe=recipe,
        microseconds_per_token=hidden_size / 10, perplexities=perplexities,
    )  # fmt: skip


def test_the_fastest_bundle_stands_first_and_the_shipped_one_is_marked() -> None:
    """Bundles have the same name: sizes and seeds tell them apart."""
    lines = size_table([report(90, hidden_size=512), report(100, further=False)]).splitlines()

    assert lines[2].startswith("| **GRU 1 × 256 ★** |")
    assert lines[3].startswith("| GRU 1 × 512 |")


def test_seeds_of_one_recipe_have_a_mean_and_a_spread() -> None:
    """The shipped one counts; another recipe does not, nor the same seed twice."""
    runs = [
        report(100, further=False),
        report(104, seed=1),
        report(108, seed=2),
        report(50, seed=2),
        report(7, recipe="other"),
    ]

    lines = seed_table(runs).splitlines()

    assert lines[2:] == ["| GRU 1 × 256 ★ | 0, 1, 2 | 104.0 ± 4.0 | 104.0 ± 4.0 |"]


def test_one_seed_has_no_spread() -> None:
    """No table."""
    assert seed_table([report(100), report(90, hidden_size=512, recipe="other", seed=1)]) == ""


def test_recipes_are_the_same_whatever_their_name_and_seed() -> None:
    """Sizes, data, teachers and what training started from make another recipe."""
    metrics = {"recipe": {"name": "a", "model": {"hidden_size": 256}}, "seed": 0}

    same = metrics | {"seed": 1, "recipe": {"name": "b", "model": {"hidden_size": 256}}, "minutes": 9}
    assert recipe_fingerprint(same) == recipe_fingerprint(metrics)
    assert recipe_fingerprint(metrics | {"teachers": ["big"]}) != recipe_fingerprint(metrics)
    assert recipe_fingerprint(metrics | {"started_from": {"name": "c"}}) != recipe_fingerprint(metrics)
    assert recipe_fingerprint({}) is None


def test_bundles_are_compared_on_what_all_were_measured_on() -> None:
    """A corpus that one of them was not trained on has no column; perplexities have a geometric mean."""
    both, one = report(100, more=25), report(90)

    assert shared_titles([both, one]) == ["masc"]
    assert mean_score(both, ["masc", "sgd"]) == pytest.approx(50)


def test_without_further_bundles_there_is_nothing_to_compare() -> None:
    """A page of four shipped models has no such section."""
    assert size_sections([report(100, further=False)]) == []


def test_one_panel_shows_every_bundle_of_a_kind(tmp_path: Path) -> None:
    """Stars ship; a bundle that was not timed has no place."""
    untimed = report(80).model_copy(update={"microseconds_per_token": None})
    ((title, points),) = speed_panels([report(100, further=False), report(90, hidden_size=512), untimed]).items()

    assert title == "English: mean perplexity (lower is better)"
    assert [(p.size, round(p.quality), p.shipped) for p in points] == [
        ("GRU 1 × 256", 100, True),
        ("GRU 1 × 512", 90, False),
    ]
    plot_speed(tmp_path / "speed.png", {title: points})
    assert (tmp_path / "speed.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(("given", "drawn"), [((319.6, 319.9), (316.551, 322.949)), ((0.865, 0.89), (0.865, 0.89))])
def test_a_difference_of_next_to_nothing_is_drawn_as_such(
    given: tuple[float, float], drawn: tuple[float, float]
) -> None:
    """An axis spans at least 2 % of what it shows; one that spans more stays as it is."""
    assert wide_enough(*given) == pytest.approx(drawn)


def test_the_page_says_where_the_shipped_bundle_stands_by_dev() -> None:
    """Fewer nats a piece are better; what is too large to ship does not count."""
    shipped, better, large = (
        report(100, further=further).model_copy(update={"dev": dev, "parameters": parameters})
        for further, dev, parameters in ((False, 3.6, 4_000_000), (True, 3.5, 4_000_000), (True, 3.1, 9_000_000))
    )

    assert "number 2 of 2 with at most 5.5 M" in rank_by_dev([shipped, better, large])
    assert rank_by_dev([better, large]) == ""
