"""Text -> pieces with character offsets, pieces -> text, and how much of a growing text is settled.

A tokenizer is not prefix-stable: one more character may change the pieces before it. For text that arrives in parts, a
*safe cut* is a place whose pieces on either side no longer depend on each other; what lies behind the last safe cut is
the tail, kept as text until more comes.
"""

from __future__ import annotations

import json
import re
import unicodedata
from dataclasses import dataclass
from pathlib import Path

import tokenizers

from service.bundle import Language
from service.errors import BundleError, UnsettledTextError
from service.word_cache import WORD, WordCache

# After a letter or digit these end a word whatever follows. Apostrophes and hyphens are absent: they may join (don't).
BREAKS = frozenset(',.!?;:()[]"，。！？；：、（）《》“”')
WINDOW = 12  # characters: no piece of a Unigram vocabulary is longer
MAX_TAIL_CHARACTERS = 512
# Characters that decide whether a Chinese negation beside them stands alone; no cut next to them.
AROUND_NEGATIONS = frozenset("没有不勿莫甭别未来人的墅特区性个分告差级类")


@dataclass(frozen=True, slots=True)
class Pieces:
    """Token ids and where each piece stands, as code-point offsets into the text given."""

    ids: list[int]
    starts: list[int]
    ends: list[int]

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True, slots=True)
class Settled:
    """A text that may go on: pieces nothing can change any more, the text behind them, and its pieces if it ends here."""

    final: Pieces
    tail: str
    unsettled: Pieces

    @property
    def pieces(self) -> Pieces:
        """All of them, if the text ends here."""
        first, second = self.final, self.unsettled
        return Pieces(first.ids + second.ids, first.starts + second.starts, first.ends + second.ends)


class Tokenizer:
    """A bundle's tokenizer."""

    def __init__(self, definition: str, language: Language) -> None:
        """Args: ``definition`` is the content of ``tokenizer.json``. Raises ``ValueError`` if it is none."""
        try:
            self._tokenizer = tokenizers.Tokenizer.from_str(definition)
        except Exception as error:  # tokenizers raises bare Exception
            raise ValueError(str(error)) from error
        self.language = language
        self.vocab_size = self._tokenizer.get_vocab_size()
        self._unigram = json.loads(definition)["model"]["type"] == "Unigram"
        self._bytes = [self._surface(self._tokenizer.id_to_token(i) or "") for i in range(self.vocab_size)]
        self._words = self._word_cache()
        # Stands for the letter before a safe cut, so that what follows is not taken for the start of a text.
        self._stand_in = "的" if self._unigram else "x"

    @classmethod
    def open(cls, path: Path, language: Language) -> Tokenizer:
        """Read ``tokenizer.json``. Raises ``BundleError`` when it is damaged."""
        try:
            return cls(path.read_text(encoding="utf-8"), language)
        except (OSError, ValueError) as error:
            raise BundleError(path, f"is not a tokenizer: {error}", "export the checkpoint again") from error

    def encode(self, text: str) -> Pieces:
        """Pieces of a whole text. ``text`` must be valid Unicode (no lone surrogates)."""
        return _pieces(self._tokenizer.encode(text, add_special_tokens=False))

    def encode_many(self, texts: list[str]) -> list[Pieces]:
        """As :meth:`encode`, one result a text."""
        return [_pieces(e) for e in self._tokenizer.encode_batch(texts, add_special_tokens=False)]

    def ids(self, text: str) -> list[int]:
        """Token ids alone: cheaper than :meth:`encode` where no offsets are asked for."""
        ids = self._words.ids(text) if self._words is not None else None
        return self._ids(text) if ids is None else ids

    def _ids(self, text: str) -> list[int]:
        ids: list[int] = self._tokenizer.encode_batch_fast([text], add_special_tokens=False)[0].ids
        return ids

    def _word_cache(self) -> WordCache | None:
        """A cache of English words, where this tokenizer allows one."""
        if self._unigram:
            return None
        cache = WordCache(self._ids)
        surfaces = {surface.decode("utf-8", errors="replace").strip() for surface in self._bytes}
        return cache if cache.is_exact(sorted(filter(WORD.fullmatch, surfaces))) else None

    def decode(self, ids: list[int]) -> str:
        """Text of the ids; special tokens are left out, bytes that form no character become U+FFFD."""
        return b"".join(self._bytes[i] for i in ids).decode("utf-8", errors="replace")

    def token_bytes(self, token_id: int) -> bytes:
        """UTF-8 bytes of one piece as it stands in text (``Ġtom`` is b" tom"); empty for special tokens."""
        return self._bytes[token_id]

    def is_special(self, token_id: int) -> bool:
        """Whether the id is <pad>, <s> or </s>."""
        return not self._bytes[token_id]

    def settle(self, text: str, at_start: bool, *, reserve: bool = False) -> Settled:
        """Divide a text that may go on at its last safe cut.

        Args:
            text: the tail so far with the new part behind it.
            at_start: whether nothing was settled before it.
            reserve: cut one word earlier, so that the tail holds a settled piece too: who wants the prediction behind it has
                a piece to read for it.

        Raises:
            UnsettledTextError: more than ``MAX_TAIL_CHARACTERS`` characters without a safe cut.
        """
        cut = self._safe_cut(text)
        if reserve and cut:
            cut = self._safe_cut(text[:cut])
        if len(text) - cut > MAX_TAIL_CHARACTERS:
            raise UnsettledTextError(len(text) - cut, MAX_TAIL_CHARACTERS)
        final, unsettled = _divide(self._encode_after(text, at_start), cut)
        return Settled(final, text[cut:], unsettled)

    def _encode_after(self, text: str, at_start: bool) -> Pieces:
        """Pieces of ``text``, which follows a safe cut unless ``at_start``."""
        if at_start or (self._unigram and text and _plain(text[0])):
            return self.encode(text)
        pieces = self.encode(self._stand_in + text)
        shift = len(self._stand_in)
        kept = [i for i, end in enumerate(pieces.ends) if end > shift]
        return Pieces(
            [pieces.ids[i] for i in kept],
            [max(0, pieces.starts[i] - shift) for i in kept],
            [pieces.ends[i] - shift for i in kept],
        )

    def _safe_cut(self, text: str) -> int:
        """Where the tail begins: 0 when nothing is settled. A tail behind settled text has at least one piece, whatever follows."""
        for i in range(len(text.rstrip()) - 1, 0, -1):
            before, after = text[i - 1], text[i]
            if self._unigram:
                if after in BREAKS and _is_chinese(before) and before not in AROUND_NEGATIONS:
                    return i
            elif (
                before.isalnum()
                and (after in BREAKS or after.isspace())
                and not _opens_line_break(text[:i])
                and not _may_join_or_vanish(text[i : i + MAX_TAIL_CHARACTERS])
            ):
                return i
        return self._cut_inside_words(text) if self._unigram and len(text) > 4 * WINDOW else 0

    def _cut_inside_words(self, text: str) -> int:
        """Where a tail may begin in text without a mark; 0 if nowhere.

        The best segmentation of a longer text runs through one of the last positions of this one; where the best paths to
        all of them agree, it is settled (Unigram's search keeps one best path to every position).
        """
        shared: set[int] | None = None
        for length in range(len(text) - WINDOW, len(text) + 1):
            boundaries = set(self.encode(text[:length]).starts)
            shared = boundaries if shared is None else shared & boundaries
        limit = len(text) - 2 * WINDOW
        for i in sorted(shared or (), reverse=True):
            around = text[max(0, i - 2) : i + 2]
            if not 0 < i <= limit or AROUND_NEGATIONS & set(around) or not all(map(_plain, around)):
                continue
            if _is_chinese(text[i - 1]) == _is_chinese(text[i]):
                return i
        return 0

    def _surface(self, piece: str) -> bytes:
        if piece in ("<pad>", "<s>", "</s>"):
            return b""
        if not self._unigram:
            return bytes(_BYTE_OF[c] for c in piece)
        if len(piece) == 6 and piece.startswith("<0x") and piece.endswith(">"):
            return bytes([int(piece[3:5], 16)])
        return piece.replace("▁", " ").encode()


def _pieces(encoding: tokenizers.Encoding) -> Pieces:
    offsets = encoding.offsets
    return Pieces(encoding.ids, [start for start, _ in offsets], [end for _, end in offsets])


def _divide(pieces: Pieces, cut: int) -> tuple[Pieces, Pieces]:
    """Pieces before and behind a character position."""
    n = sum(1 for end in pieces.ends if end <= cut)
    return (
        Pieces(pieces.ids[:n], pieces.starts[:n], pieces.ends[:n]),
        Pieces(pieces.ids[n:], pieces.starts[n:], pieces.ends[n:]),
    )


def _is_chinese(c: str) -> bool:
    return "\u4e00" <= c <= "\u9fff"


def _plain(c: str) -> bool:
    """A Chinese character or an ASCII letter: nothing before it changes how it is normalised."""
    return _is_chinese(c) or (c.isascii() and c.isalpha())


def _opens_line_break(text: str) -> bool:
    """Whether the text ends in ``<br``, which a following blank does not end."""
    return unicodedata.normalize("NFKC", text[-3:]).lower() == "<br"


def _may_join_or_vanish(text: str) -> bool:
    """Whether the text, past blanks and line breaks, begins as ``n't`` does, which is joined to the word before it, or is nothing yet."""
    text = unicodedata.normalize("NFKC", text).lower().translate(_APOSTROPHES)
    rest = _BLANKS.sub("", text, count=1)
    return rest.startswith("n't") or "n't".startswith(rest) or _OPEN_LINE_BREAK.fullmatch(rest) is not None


_BLANKS = re.compile(r"(?:\s|<br\s*/?>)*")
_OPEN_LINE_BREAK = re.compile(r"<(?:b(?:r\s*/?)?)?")
_APOSTROPHES = str.maketrans(dict.fromkeys("’‘\u0091\u0092", "'"))


def _byte_table() -> dict[str, int]:
    """Character -> byte of byte-level BPE: printable bytes stand for themselves, the others for U+0100 and up (Radford et al. 2019)."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    table = {chr(byte): byte for byte in printable}
    others = (byte for byte in range(256) if byte not in set(printable))
    return table | {chr(0x100 + n): byte for n, byte in enumerate(others)}


_BYTE_OF = _byte_table()
