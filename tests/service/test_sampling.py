"""Sampling: logits in, token ids and log-probabilities out."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.random import Generator, Philox

from service.sampling import FloatArray, Sampler, SamplingParams, draw, log_softmax, score, token_logprob

logit_rows = hnp.arrays(
    np.float32, st.integers(2, 700), elements=st.floats(-30, 30, width=32, allow_nan=False, allow_infinity=False)
)


def generator(seed: int = 0) -> Generator:
    return Generator(Philox(seed))


def row(*values: float) -> FloatArray:
    return np.array(values, dtype=np.float32)


def frequencies(
    logits: FloatArray, draws: int = 4000, temperature: float = 1.0, top_p: float = 1.0, top_k: int = 0
) -> list[float]:
    rng = generator(7)
    counts = np.zeros(len(logits))
    for _ in range(draws):
        counts[draw(logits, temperature, top_p=top_p, top_k=top_k, rng=rng)] += 1
    return [float(count) / draws for count in counts]


@given(logit_rows)
def test_temperature_zero_takes_the_largest(logits: FloatArray) -> None:
    assert draw(logits, 0.0, rng=generator()) == int(logits.argmax())


@pytest.mark.parametrize("temperature", [1e-300, 1e-9, 1e-5])
def test_a_tiny_temperature_is_zero_and_nothing_overflows(temperature: float) -> None:
    assert draw(row(1.0, 3.0, 2.0), temperature, rng=generator()) == 1


@pytest.mark.parametrize(("temperature", "size"), [(0.5, 5), (1.0, 5), (2.0, 5), (1.0, 3000)])
def test_draws_follow_the_softmax(temperature: float, size: int) -> None:
    """Long rows, which are summed in blocks, are drawn from in the same way."""
    logits = np.full(size, -40.0, dtype=np.float32)
    logits[[0, 1, size // 2, size - 2, size - 1]] = [0.0, 1.0, 2.0, -1.0, 0.5]
    expected = np.exp(logits.astype(np.float64) / temperature)
    expected /= expected.sum()

    assert frequencies(logits, temperature=temperature) == pytest.approx(
        list(expected), abs=0.03
    )  # 4 sigma of 4,000 draws


def test_top_k_keeps_the_likeliest() -> None:
    drawn = frequencies(row(0.0, 3.0, 1.0, 2.5), top_k=2)

    assert drawn[0] == drawn[2] == 0.0
    assert drawn[1] == pytest.approx(1 / (1 + math.exp(-0.5)), abs=0.03)


def test_top_p_keeps_the_smallest_set_with_that_much_probability() -> None:
    logits = np.log(row(0.1, 0.5, 0.3, 0.1))

    assert frequencies(logits, top_p=0.45) == [0.0, 1.0, 0.0, 0.0]
    assert frequencies(logits, top_p=0.75)[0::3] == [0.0, 0.0]
    assert min(frequencies(logits, top_p=0.95)) > 0.0


@given(logit_rows, st.floats(0.01, 1.0), st.integers(0, 10**6))
def test_top_p_draws_only_from_the_nucleus(logits: FloatArray, top_p: float, seed: int) -> None:
    token = draw(logits, 1.0, top_p=top_p, rng=generator(seed))
    probabilities = np.exp(log_softmax(logits.astype(np.float64)).astype(np.float64))

    likelier = float(probabilities[probabilities > probabilities[token] * (1 + 1e-4)].sum())
    assert likelier < top_p + 1e-5  # float32 sums


@example(row(-1e-8, 0.0, 0.0), 2, 0)  # exp gives all three one weight
@example(row(-1.1754944e-38, 0.0, 0.0), 2, 0)
@given(logit_rows, st.integers(1, 50), st.integers(0, 10**6))
def test_top_k_draws_only_from_the_top(logits: FloatArray, top_k: int, seed: int) -> None:
    token = draw(logits, 1.5, top_k=top_k, rng=generator(seed))

    assert int((logits > logits[token]).sum()) < top_k


@given(logit_rows, st.floats(0.001, 2.0), st.floats(0.01, 1.0), st.integers(0, 60))
def test_a_token_of_probability_zero_is_never_drawn(
    logits: FloatArray, temperature: float, top_p: float, top_k: int
) -> None:
    logits = np.concatenate([row(-np.inf), logits, row(-np.inf)])
    rng = generator(1)

    for _ in range(5):
        assert 0 < draw(logits, temperature, top_p=top_p, top_k=top_k, rng=rng) < len(logits) - 1


def texts(seed: int | None, stream: int = 0, **options: float) -> list[int]:
    sampler = Sampler(SamplingParams(seed=seed, **options), 50, stream=stream)  # type: ignore[arg-type]  # all are floats
    logits = np.zeros(50, dtype=np.float32)
    return [sampler.sample(logits) for _ in range(30)]


@pytest.mark.parametrize("seed", [0, 1, -1, 2**63 - 1, -(2**63), 2**64])
def test_the_same_seed_gives_the_same_tokens(seed: int) -> None:
    assert texts(seed) == texts(seed)


def test_other_seeds_other_streams_and_no_seed_give_other_tokens() -> None:
    assert (
        len({tuple(texts(1)), tuple(texts(2)), tuple(texts(1, stream=1)), tuple(texts(None)), tuple(texts(None))}) == 5
    )


def test_seeds_hold_while_other_samplers_draw_in_between() -> None:
    """A generation's draws depend on nothing but its own seed."""
    alone = texts(3)
    sampler, other = (Sampler(SamplingParams(seed=seed), 50) for seed in (3, 4))
    logits = np.zeros(50, dtype=np.float32)

    mixed = []
    for _ in range(30):
        mixed.append(sampler.sample(logits))
        other.sample(logits)

    assert mixed == alone


def test_a_presence_penalty_is_taken_once_and_a_frequency_penalty_each_time() -> None:
    logits = row(3.0, 2.9, 0.05)
    presence = Sampler(SamplingParams(temperature=0, presence_penalty=1.0), 3)
    frequency = Sampler(SamplingParams(temperature=0, frequency_penalty=1.0), 3)

    assert [presence.sample(logits) for _ in range(4)] == [0, 1, 0, 0]
    assert [frequency.sample(logits) for _ in range(7)] == [0, 1, 0, 1, 0, 1, 2]


def test_a_negative_penalty_favours_what_was_generated() -> None:
    sampler = Sampler(SamplingParams(temperature=0, presence_penalty=-1.0), 2)
    sampler.sample(row(1.0, 0.0))

    assert sampler.sample(row(1.0, 1.5)) == 0


def test_logit_bias_forces_and_bans_tokens() -> None:
    logits = row(0.0, 5.0, 0.0)

    assert Sampler(SamplingParams(temperature=0, logit_bias={2: 100.0}), 3).sample(logits) == 2
    assert Sampler(SamplingParams(temperature=0, logit_bias={1: -100.0}), 3).sample(logits) == 0


def test_forbidden_tokens_are_never_drawn_whatever_the_bias() -> None:
    sampler = Sampler(SamplingParams(temperature=0, logit_bias={1: 100.0}), 3, forbidden=(1,))

    assert sampler.sample(row(0.0, 50.0, 1.0)) == 2


def test_sampling_leaves_the_logits_as_they_are() -> None:
    logits = row(0.0, 1.0, 2.0)
    Sampler(SamplingParams(temperature=0.7, top_p=0.5, frequency_penalty=1.0, logit_bias={0: 3.0}), 3).sample(logits)

    assert logits.tolist() == [0.0, 1.0, 2.0]


@pytest.mark.parametrize(
    "options",
    [
        {"temperature": -1.0},
        {"temperature": math.inf},
        {"temperature": math.nan},
        {"top_p": 0.0},
        {"top_p": 1.1},
        {"top_k": -1},
    ],
)
def test_impossible_options_are_refused(options: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(options))):
        SamplingParams(**options)  # type: ignore[arg-type]  # top_k is the integer among them


@pytest.mark.parametrize("bias", [{5: 1.0}, {-1: 1.0}, {0: math.nan}, {0: math.inf}])
def test_a_bias_outside_the_vocabulary_or_not_finite_is_refused(bias: dict[int, float]) -> None:
    with pytest.raises(ValueError, match="token"):
        Sampler(SamplingParams(logit_bias=bias), 5)


@given(logit_rows)
def test_log_probabilities_sum_to_one(logits: FloatArray) -> None:
    assert float(np.exp(log_softmax(logits).astype(np.float64)).sum()) == pytest.approx(1.0, abs=1e-4)


@pytest.mark.parametrize("shift", [-1e30, -1e4, 0.0, 1e4, 1e30])
def test_log_probabilities_are_stable_at_any_size_of_logits(shift: float) -> None:
    assert log_softmax(row(shift, shift)).tolist() == pytest.approx([-math.log(2)] * 2)
    assert token_logprob(row(shift, shift), 0, 0).logprob == pytest.approx(-math.log(2))


def test_an_impossible_token_has_log_probability_minus_infinity() -> None:
    assert token_logprob(row(0.0, -np.inf), 1, 1).logprob == -math.inf


@given(logit_rows, st.integers(0, 5), st.data())
def test_the_top_log_probabilities_are_the_largest_in_order(logits: FloatArray, top: int, data: st.DataObject) -> None:
    top = min(top, len(logits))
    token = data.draw(st.integers(0, len(logits) - 1))
    result = token_logprob(logits, token, top)
    expected = sorted(range(len(logits)), key=lambda i: (-float(logits[i]), i))[:top]

    assert [i for i, _ in result.top] == expected
    assert result.logprob == pytest.approx(float(log_softmax(logits)[token]), abs=1e-4)
    assert all(value == pytest.approx(float(log_softmax(logits)[i]), abs=1e-4) for i, value in result.top)


def test_scoring_positions_equals_scoring_each_alone() -> None:
    logits = generator().standard_normal((4, 9)).astype(np.float32)
    targets = np.array([3, 0, 8, 8])

    assert score(logits, targets, 3) == [token_logprob(logits[t], int(targets[t]), 3) for t in range(4)]
