"""From logits to token ids and log-probabilities. Pure numpy: knows no text, no model, no event loop."""

from __future__ import annotations

import secrets
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Literal

import numpy as np
from numpy.random import Generator, Philox
from numpy.typing import NDArray

FloatArray = NDArray[np.float32]
IntArray = NDArray[np.int64]

# Below this a temperature is 0: logits are float32, and 1e-4 already turns a difference of 0.01 into odds of e^100.
GREEDY_TEMPERATURE = 1e-4
# Weights that are summed in blocks before the cumulative sum: numpy adds blocks with SIMD, a running sum it cannot.
_BLOCK = 128


@dataclass(frozen=True, slots=True)
class SamplingParams:
    """How the next token is chosen.

    Args:
        temperature: divides the logits, >= 0; 0 always takes the largest.
        top_p: the smallest set of tokens with this much probability is kept, 0 < top_p <= 1.
        top_k: how many of the likeliest tokens are kept; 0 keeps all.
        frequency_penalty: taken off a token's logit once for each time it was generated.
        presence_penalty: taken off a token's logit once it was generated at all.
        logit_bias: added to the logits of these token ids.
        seed: fixes every draw; without it the draws cannot be repeated.
    """

    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    frequency_penalty: float = 0.0
    presence_penalty: float = 0.0
    logit_bias: Mapping[int, float] = field(default_factory=dict)
    seed: int | None = None

    def __post_init__(self) -> None:
        if not 0.0 <= self.temperature < float("inf"):
            raise ValueError(f"temperature must be at least 0 and finite, not {self.temperature}")
        if not 0.0 < self.top_p <= 1.0:
            raise ValueError(f"top_p must be above 0 and at most 1, not {self.top_p}")
        if self.top_k < 0:
            raise ValueError(f"top_k must be at least 0, not {self.top_k}")


class Sampler:
    """Draws the tokens of one generation, one call a step, and remembers what it drew for the penalties.

    Args:
        params: how to choose.
        vocab_size: V.
        stream: which of a request's generations this is; each has draws of its own under the same seed.
        forbidden: token ids that are never drawn, whatever the bias.

    Raises:
        ValueError: a biased or forbidden id is outside 0..V-1, or a bias is not finite.
    """

    __slots__ = ("_offsets", "_params", "_penalised", "_rng", "_seen")

    def __init__(
        self, params: SamplingParams, vocab_size: int, *, stream: int = 0, forbidden: Collection[int] = ()
    ) -> None:
        seed = secrets.randbits(64) if params.seed is None else params.seed
        self._params = params
        self._rng = Generator(Philox(key=np.array([seed % 2**64, stream], dtype=np.uint64)))
        self._penalised = params.frequency_penalty != 0.0 or params.presence_penalty != 0.0
        self._seen: set[int] = set()
        self._offsets = np.zeros(vocab_size, dtype=np.float32)
        for token, bias in params.logit_bias.items():
            if not 0 <= token < vocab_size:
                raise ValueError(f"token {token} is outside the vocabulary, 0 to {vocab_size - 1}")
            if not np.isfinite(bias):
                raise ValueError(f"the bias of token {token} must be finite, not {bias}")
            self._offsets[token] = bias
        for token in forbidden:
            if not 0 <= token < vocab_size:
                raise ValueError(f"token {token} is outside the vocabulary, 0 to {vocab_size - 1}")
            self._offsets[token] = -np.inf

    def sample(self, logits: FloatArray) -> int:
        """Draw the next token id.

        Args:
            logits: (V,) the model's unnormalised scores, left as they are.
        """
        token = draw(
            logits + self._offsets,
            self._params.temperature,
            top_p=self._params.top_p,
            top_k=self._params.top_k,
            rng=self._rng,
        )
        if self._penalised:
            self._offsets[token] -= self._params.frequency_penalty
            if token not in self._seen:
                self._seen.add(token)
                self._offsets[token] -= self._params.presence_penalty
        return token


def draw(logits: FloatArray, temperature: float, *, top_p: float = 1.0, top_k: int = 0, rng: Generator) -> int:
    """Draw one token id from one row.

    Tokens that tie with the last one kept by ``top_k`` or ``top_p`` are kept too, so the result never depends on an order.

    Args:
        logits: (V,) unnormalised scores; -inf is never drawn.
        temperature: divides the logits; 0 takes the largest.
        top_p: the smallest set of tokens with at least this much probability is kept.
        top_k: how many tokens are kept, before ``top_p``; 0 keeps all.
        rng: the only source of randomness: one uniform number a call, none at temperature 0.

    Source: nucleus sampling, Holtzman et al. 2020 (arXiv:1904.09751); top-k sampling, Fan et al. 2018 (arXiv:1805.04833).
    """
    if temperature < GREEDY_TEMPERATURE or top_k == 1:
        return int(logits.argmax())
    uniform = rng.random()
    weights = logits - logits.max()
    if temperature != 1.0:
        weights /= np.float32(temperature)
    np.exp(weights, out=weights)
    ids: IntArray | None = None
    if 0 < top_k < len(weights):
        # Of logits, not of weights: exp rounds tokens to a tie that are none, and all would be kept.
        ids = np.flatnonzero(logits >= np.partition(logits, -top_k)[-top_k])
        weights = weights[ids]
    if top_p < 1.0:
        weights *= weights >= _nucleus_floor(weights, top_p)
    place = _reach(weights, uniform, "right")
    if weights[place] <= 0.0:  # rounding put the target behind the last weight; a token of weight 0 is never the answer
        place = int(np.flatnonzero(weights)[-1])
    return place if ids is None else int(ids[place])


def _nucleus_floor(weights: FloatArray, top_p: float) -> np.float32:
    """The weight of the least likely token in the nucleus."""
    descending = np.sort(weights)[::-1]
    return np.float32(descending[_reach(descending, top_p, "left")])


def _reach(weights: FloatArray, share: float, side: Literal["left", "right"]) -> int:
    """The first index where the running sum of (N,) weights is at least (left) or above (right) a share of their total.

    Block sums first, then a running sum inside one block: a running sum over everything is what would take longest.
    """
    start, before = 0, 0.0
    if len(weights) > 4 * _BLOCK:
        totals = np.add.accumulate(np.add.reduceat(weights, _block_starts(len(weights))), dtype=np.float64)
        target = share * float(totals[-1])
        block = min(int(totals.searchsorted(target, side)), len(totals) - 1)
        start = block * _BLOCK
        before = float(totals[block - 1]) if block else 0.0
        running = np.add.accumulate(weights[start : start + _BLOCK], dtype=np.float64)
    else:
        running = np.add.accumulate(weights, dtype=np.float64)
        target = share * float(running[-1])
    return start + min(int(running.searchsorted(target - before, side)), len(running) - 1)


@lru_cache(maxsize=64)
def _block_starts(size: int) -> IntArray:
    return np.arange(0, size, _BLOCK)


@dataclass(frozen=True, slots=True)
class TokenLogprob:
    """What the model thought of one token before any temperature, bias or penalty."""

    logprob: float
    top: tuple[tuple[int, float], ...]  # the likeliest token ids with their log-probabilities, likeliest first


def log_softmax(logits: FloatArray) -> FloatArray:
    """(..., V) -> (..., V), stable for logits of any size."""
    shifted: FloatArray = logits - logits.max(axis=-1, keepdims=True)
    shifted -= np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
    return shifted


def token_logprob(logits: FloatArray, token: int, top: int) -> TokenLogprob:
    """The log-probability of one token and the ``top`` likeliest ones.

    Args:
        logits: (V,) the model's own scores.
        token: the id that was chosen.
        top: how many alternatives to name, 0 <= top <= V.
    """
    shifted = logits - logits.max()
    log_total = float(np.log(np.exp(shifted).sum()))
    return TokenLogprob(
        float(shifted[token]) - log_total, tuple((int(i), float(shifted[i]) - log_total) for i in _largest(logits, top))
    )


def score(logits: FloatArray, targets: IntArray, top: int) -> list[TokenLogprob]:
    """``token_logprob`` for (T, V) logits and (T,) targets."""
    return [token_logprob(row, int(target), top) for row, target in zip(logits, targets, strict=True)]


def _largest(logits: FloatArray, count: int) -> IntArray:
    """Ids of the ``count`` largest logits, largest first, the smaller id first among equals."""
    if count == 0:
        return np.empty(0, dtype=np.int64)
    if count == 1:
        return np.array([logits.argmax()])
    ids = np.flatnonzero(logits >= np.partition(logits, -count)[-count])
    return ids[np.argsort(-logits[ids], kind="stable")[:count]]
