"""Prefix states: the longest one is found, never another text's, within an honest byte budget."""

from __future__ import annotations

import gc
import time
import tracemalloc
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from service.state_cache import ENTRY_OVERHEAD_BYTES, StateCache

FloatArray = NDArray[np.float32]
Ids = tuple[int, ...]

HERE = ("bundle-1", "caller-1")
PLENTY = 1 << 30


def state_of(value: float, size: int = 4) -> FloatArray:
    return np.full(size, value, dtype=np.float32)


def entry_bytes(tokens: int, size: int = 4) -> int:
    return 4 * tokens + 4 * size + ENTRY_OVERHEAD_BYTES


def test_an_empty_cache_knows_no_prefix() -> None:
    cache = StateCache(PLENTY)

    assert cache.longest_prefix(HERE, [1, 2, 3]) is None
    assert (cache.hits, cache.misses) == (0, 1)


def test_the_longest_of_several_prefixes_is_found() -> None:
    cache = StateCache(PLENTY)
    for length in (1, 2, 4):
        cache.insert(HERE, [7, 8, 9, 10][:length], state_of(length))

    found = cache.longest_prefix(HERE, [7, 8, 9, 11])

    assert found is not None
    assert found.length == 2
    assert found.state.tolist() == [2, 2, 2, 2]


def test_the_whole_sequence_counts_as_its_own_prefix() -> None:
    cache = StateCache(PLENTY)
    cache.insert(HERE, [7, 8], state_of(1))

    found = cache.longest_prefix(HERE, [7, 8])

    assert found is not None
    assert found.length == 2


def test_a_longer_cached_text_is_no_prefix_of_a_shorter_one() -> None:
    cache = StateCache(PLENTY)
    cache.insert(HERE, [7, 8, 9], state_of(1))

    assert cache.longest_prefix(HERE, [7, 8]) is None
    assert cache.longest_prefix(HERE, []) is None


@pytest.mark.parametrize("other", [("bundle-2", "caller-1"), ("bundle-1", "caller-2")])
def test_other_models_and_other_callers_see_nothing(other: tuple[str, str]) -> None:
    cache = StateCache(PLENTY)
    cache.insert(HERE, [7, 8], state_of(1))

    assert cache.longest_prefix(other, [7, 8]) is None


def test_as_you_type_costs_one_step_per_new_token() -> None:
    """Each keystroke that adds a token finds the state after all the tokens before it."""
    cache = StateCache(PLENTY)
    text = list(range(100, 160))
    steps = []
    for length in range(1, len(text) + 1):
        found = cache.longest_prefix(HERE, text[:length])
        steps.append(length - (found.length if found else 0))
        cache.insert(HERE, text[:length], state_of(length))

    assert steps == [1] * len(text)


def test_a_hash_collision_is_a_miss_and_never_another_texts_state() -> None:
    cache = StateCache(PLENTY)
    cache._multipliers = np.zeros(1024, dtype=np.uint64)  # every sequence of a namespace now has the same hash
    cache.insert(HERE, [7, 8], state_of(1))

    assert cache.longest_prefix(HERE, [7, 9]) is None
    assert cache.longest_prefix(HERE, [8, 8, 8]) is None
    found = cache.longest_prefix(HERE, [7, 8, 9])
    assert found is not None
    assert found.length == 2

    cache.insert(HERE, [5], state_of(2))

    assert len(cache) == 1
    assert cache.bytes == entry_bytes(1)
    assert cache.longest_prefix(HERE, [7, 8]) is None


def test_the_least_recently_used_entry_leaves_first() -> None:
    cache = StateCache(3 * entry_bytes(1))
    for token in (1, 2, 3):
        cache.insert(HERE, [token], state_of(token))
    cache.longest_prefix(HERE, [1])

    cache.insert(HERE, [4], state_of(4))

    assert [token for token in (1, 2, 3, 4) if cache.longest_prefix(HERE, [token])] == [1, 3, 4]
    assert cache.evictions == 1


def test_inserting_again_replaces_the_state_and_counts_its_bytes_once() -> None:
    cache = StateCache(PLENTY)
    cache.insert(HERE, [1, 2], state_of(1))
    cache.insert(HERE, [1, 2], state_of(2))

    found = cache.longest_prefix(HERE, [1, 2])

    assert found is not None
    assert found.state[0] == 2
    assert cache.bytes == entry_bytes(2)


@pytest.mark.parametrize("max_bytes", [0, entry_bytes(2) - 1])
def test_a_state_over_the_budget_is_not_kept(max_bytes: int) -> None:
    """A budget of 0 turns the cache off; nothing else is thrown out for an entry that cannot fit."""
    cache = StateCache(max_bytes)
    cache.insert(HERE, [1, 2], state_of(1))

    assert len(cache) == 0
    assert cache.bytes == 0
    assert cache.evictions == 0


def test_a_negative_budget_is_refused() -> None:
    with pytest.raises(ValueError, match="max_bytes"):
        StateCache(-1)


def test_the_state_after_no_tokens_is_refused() -> None:
    with pytest.raises(ValueError, match="no tokens"):
        StateCache(PLENTY).insert(HERE, [], state_of(0))


def test_a_kept_state_is_a_read_only_copy() -> None:
    """Neither the caller's later writes nor a reader's can change what is kept."""
    cache = StateCache(PLENTY)
    batch = np.ones((8, 4), dtype=np.float32)
    cache.insert(HERE, [1], batch[3])
    batch[3] = 5

    found = cache.longest_prefix(HERE, [1])

    assert found is not None
    assert found.state.tolist() == [1, 1, 1, 1]
    assert found.state.base is None
    with pytest.raises(ValueError, match="read-only"):
        found.state[0] = 2


def test_texts_longer_than_the_first_table_of_random_numbers_are_found() -> None:
    cache = StateCache(PLENTY)
    text = list(range(5000))
    cache.insert(HERE, text[:4000], state_of(1))
    cache.insert(HERE, text[:10], state_of(2))

    found = cache.longest_prefix(HERE, text)

    assert found is not None
    assert found.length == 4000


Operation = tuple[bool, tuple[str, str], Ids]
operations = st.lists(
    st.tuples(
        st.booleans(),
        st.sampled_from([("a", ""), ("b", ""), ("a", "c")]),
        st.lists(st.integers(0, 3), min_size=0, max_size=6).map(tuple),
    ),
    max_size=80,
)


def brute_force_longest(
    known: dict[tuple[tuple[str, str], Ids], float], namespace: tuple[str, str], ids: Ids
) -> int | None:
    lengths = [length for length in range(1, len(ids) + 1) if (namespace, ids[:length]) in known]
    return max(lengths, default=None)


@settings(max_examples=300, deadline=None)
@given(operations, st.integers(0, 8))
def test_it_behaves_as_a_plain_dictionary_in_order_of_use(steps: Sequence[Operation], capacity: int) -> None:
    """Against brute force: the same prefixes, the same states, the same victims, and bytes within the budget."""
    longest_entry = entry_bytes(6)
    cache = StateCache(capacity * longest_entry)
    known: dict[tuple[tuple[str, str], Ids], float] = {}  # in order of use, oldest first
    evictions = 0
    for number, (is_insert, namespace, ids) in enumerate(steps):
        if is_insert and ids:
            cache.insert(namespace, ids, state_of(number))
            known.pop((namespace, ids), None)
            if capacity:
                known[(namespace, ids)] = number
            while sum(entry_bytes(len(key[1])) for key in known) > cache.max_bytes:
                known.pop(next(iter(known)))
                evictions += 1
        else:
            found = cache.longest_prefix(namespace, ids)
            length = brute_force_longest(known, namespace, ids)
            assert (found.length if found else None) == length
            if found is not None and length is not None:
                key = (namespace, ids[:length])
                assert found.state.tolist() == state_of(known[key]).tolist()
                known[key] = known.pop(key)
        assert len(cache) == len(known)
        assert cache.bytes == sum(entry_bytes(len(key[1])) for key in known) <= cache.max_bytes
        assert cache.evictions == evictions


def test_accounted_bytes_are_the_bytes_the_process_holds() -> None:
    """Within 10 %, for short and long texts: the budget is about memory, not about the numbers alone."""
    for size, tokens in ((64, 8), (2048, 40), (1024, 500)):
        cache = StateCache(PLENTY)
        state = state_of(1.5, size)
        gc.collect()
        tracemalloc.start()
        before = tracemalloc.get_traced_memory()[0]
        for number in range(2000):
            cache.insert(HERE, [number, *range(tokens - 1)], state)
        held = tracemalloc.get_traced_memory()[0] - before
        tracemalloc.stop()

        assert len(cache) == 2000
        assert held == pytest.approx(cache.bytes, rel=0.10)


def test_looking_up_a_thousand_tokens_takes_well_under_a_tenth_of_a_millisecond() -> None:
    """Best of many, so that a busy machine does not decide; the worst case is a miss, which probes every length."""
    cache = StateCache(PLENTY)
    text = list(range(2000, 3000))
    for length in range(1, 1001):
        cache.insert(("other", ""), text[:length], state_of(length))
    cache.insert(HERE, text[:990], state_of(1))

    def best_seconds(namespace: tuple[str, str]) -> float:
        best = float("inf")
        for _ in range(300):
            start = time.perf_counter()
            cache.longest_prefix(namespace, text)
            best = min(best, time.perf_counter() - start)
        return best

    assert best_seconds(HERE) < 100e-6
    assert best_seconds(("nobody", "")) < 200e-6
