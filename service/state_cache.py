"""Recurrent states kept between requests: a text that begins like an earlier one starts where that one's state stands."""

from __future__ import annotations

from array import array
from collections import OrderedDict
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float32]
HashArray = NDArray[np.uint64]

# What one entry costs beside its numbers and ids: the entry, its key, the headers of array and bytes, and its slot in the
# ordered dictionary. `test_accounted_bytes_are_the_bytes_the_process_holds` compares it with the allocator.
ENTRY_OVERHEAD_BYTES = 352


@dataclass(frozen=True, slots=True, eq=False)
class CachedPrefix:
    """The longest known beginning of a text."""

    length: int  # tokens that the state has seen
    state: FloatArray  # (S,), read-only


@dataclass(frozen=True, slots=True, eq=False)
class _Entry:
    namespace: Hashable
    ids: bytes  # 4 bytes a token
    state: FloatArray

    @property
    def bytes(self) -> int:
        return self.state.nbytes + len(self.ids) + ENTRY_OVERHEAD_BYTES


class StateCache:
    """Prefix of token ids -> the state after exactly those ids. Least recently used entries leave first.

    Entries are found by a hash of their ids, computed for all prefixes of a text in one pass over it, and then compared id by
    id: two texts whose hashes collide cost each other a miss, never a wrong state. The hash sums the ids times random
    numbers drawn at start, so nobody outside can aim for collisions.

    Not safe for threads: the event loop owns it.

    Args:
        max_bytes: what all entries together may hold, overhead included; 0 turns the cache off.
        rng: where the hash's random numbers come from.
    """

    def __init__(self, max_bytes: int, rng: np.random.Generator | None = None) -> None:
        if max_bytes < 0:
            raise ValueError(f"max_bytes must be at least 0, not {max_bytes}")
        self.max_bytes = max_bytes
        self.bytes = 0
        self.hits = 0
        self.misses = 0
        self.evictions = 0
        self._entries: OrderedDict[int, _Entry] = OrderedDict()
        self._rng = rng or np.random.default_rng()
        self._multipliers = self._draw(1024)

    def __len__(self) -> int:
        return len(self._entries)

    def longest_prefix(self, namespace: Hashable, input_ids: Sequence[int]) -> CachedPrefix | None:
        """Find the longest cached prefix, the whole sequence included. O(tokens); counts one hit or one miss.

        States only, no logits, are kept: who needs the prediction after the last token looks up ``input_ids[:-1]``.

        Args:
            namespace: what states must not cross, as (bundle fingerprint, caller); entries of other namespaces are not seen.
            input_ids: (T,) token ids, T >= 0.
        """
        if self._entries:
            ids = _pack(input_ids)
            keys: list[int] = self._prefix_hashes(namespace, ids).tolist()
            for key in filter(self._entries.__contains__, reversed(keys)):
                entry = self._entries[key]
                if entry.namespace == namespace and ids.startswith(entry.ids):
                    self._entries.move_to_end(key)
                    self.hits += 1
                    return CachedPrefix(len(entry.ids) // 4, entry.state)
        self.misses += 1
        return None

    def insert(self, namespace: Hashable, input_ids: Sequence[int], state: FloatArray) -> None:
        """Keep a copy of the state after exactly these ids; what was used least recently makes room.

        A state that alone exceeds the budget is not kept.

        Args:
            namespace: as in ``longest_prefix``.
            input_ids: (T,) token ids, T >= 1.
            state: (S,) the state after the last of them.
        """
        if not input_ids:
            raise ValueError("the state after no tokens is zeros; there is nothing to keep")
        ids = _pack(input_ids)
        kept = np.array(state, dtype=np.float32)  # its own memory: a row of a batch would keep the whole batch alive
        kept.flags.writeable = False
        entry = _Entry(namespace, ids, kept)
        if entry.bytes > self.max_bytes:
            return
        key = int(self._prefix_hashes(namespace, ids)[-1])
        replaced = self._entries.pop(key, None)
        if replaced is not None:
            self.bytes -= replaced.bytes
        self._entries[key] = entry
        self.bytes += entry.bytes
        while self.bytes > self.max_bytes:
            _, oldest = self._entries.popitem(last=False)
            self.bytes -= oldest.bytes
            self.evictions += 1

    def _prefix_hashes(self, namespace: Hashable, ids: bytes) -> HashArray:
        """(T,) a 64-bit hash of every prefix: the running sum of (id + 1) times that position's random number."""
        numbers = np.frombuffer(ids, dtype=np.uint32).astype(np.uint64)
        length = len(numbers)
        while length > len(self._multipliers):
            self._multipliers = np.concatenate([self._multipliers, self._draw(len(self._multipliers))])
        numbers += np.uint64(1)
        numbers *= self._multipliers[:length]
        numbers[:1] += np.uint64(
            hash(namespace) & 0xFFFF_FFFF_FFFF_FFFF
        )  # a slice: arrays wrap around, a scalar would warn
        return np.cumsum(numbers, out=numbers)

    def _draw(self, count: int) -> HashArray:
        return self._rng.integers(0, 2**64, size=count, dtype=np.uint64) | np.uint64(1)


def _pack(input_ids: Sequence[int]) -> bytes:
    """Token ids as 4 bytes each, in the machine's order: they never leave the process."""
    return array("I", input_ids).tobytes()
