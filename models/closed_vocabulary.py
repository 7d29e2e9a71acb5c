"""Benchmarks with a closed vocabulary, PTB and WikiText-2, read and measured by the field's conventions.

A part is one stream: the lines in order, ``<eos>`` after each, the state never reset. The vocabulary is the training part's
words, ``<unk>`` and ``<eos>`` among them, and perplexity counts every token.

Source: Mikolov et al. 2010 (PTB); Merity et al. 2017 (WikiText-2, arXiv:1609.07843).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer, models, pre_tokenizers

from models.corpora import END_OF_LINE, CorpusError, closed_text
from models.data import encode
from models.language_model import LanguageModel
from models.loop import Run
from models.stages import stream_nll

UNKNOWN = "<unk>"
MEASURED_PARTS = ("valid", "test")
MEASURED_BPTT = 512  # tokens of one model run; bounds the memory of the logits


def word_tokenizer(lines: Iterable[str]) -> Tokenizer:
    """Words between blanks, the frequent ones first; without special tokens."""
    counts = Counter(word for line in lines for word in line.split())
    words = sorted(counts, key=lambda word: (-counts[word], word))
    tokenizer = Tokenizer(models.WordLevel({word: index for index, word in enumerate(words)}, UNKNOWN))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return tokenizer


def check_words(tokenizer: Tokenizer, lines: Sequence[str], what: str) -> None:
    """A word outside the vocabulary would be read as ``<unk>``, and the perplexity would be no benchmark's.

    Raises:
        CorpusError: naming such a word and ``what`` holds it.
    """
    vocabulary = tokenizer.get_vocab()
    for line in lines:
        for word in line.split():
            if word not in vocabulary:
                raise CorpusError(f"{what} holds {word!r}, which is no word of the closed vocabulary")


def perplexities(run: Run, data: Path, name: str, model: LanguageModel, tokenizer: Tokenizer) -> dict[str, float]:
    """Perplexity of the valid and the test part: each read as one stream that starts after an ``<eos>``, every token counted.

    Raises:
        CorpusError: a part is missing, or holds a word that the training part does not.
    """
    found: dict[str, float] = {}
    for part in MEASURED_PARTS:
        lines, _ = closed_text(data, name, part)
        check_words(tokenizer, lines, f"{name}'s {part} part")
        stream = np.concatenate(encode(tokenizer, [END_OF_LINE, *lines]))
        found[part] = math.exp(stream_nll(model, stream, run.device, rows=1, bptt=MEASURED_BPTT))
        run.say(f"{name} {part}: perplexity {found[part]:.2f} over {len(stream) - 1:,} tokens")
    return found
