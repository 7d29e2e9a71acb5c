"""Texts that judge nothing: ours with one half for their label, and sentences of running text with a classifier's own answer.

A classifier of two classes that read judgements alone is as sure of "The train leaves at nine" as of a review. Texts written to
judge nothing say so. Running text is full of such sentences, too, but it judges here and there, so that one half would be a wrong
label for some: the answer of the classifier that training starts from, its log-odds divided, keeps every verdict and takes the
firmness away.
"""

from __future__ import annotations

import random
from collections.abc import Set
from pathlib import Path

import torch
from tokenizers import Tokenizer

from models.calibration import final_logits
from models.checkpoint import DataUse
from models.classifier import Classifier
from models.corpora import Example, everyday_neutral, running_text, without
from models.data import encode
from models.loop import Run
from models.negation import with_choices_made
from models.tokenizer import Language

STATEMENTS = "statements"  # the source of sentences of running text
NEUTRAL = "neutral texts"  # the source of ours
EACH = 5_000  # sentences of a corpus
FEWEST_CHARACTERS = 4
DIVISOR = 4.0  # of log-odds: 99 % become 76 %


def neutral_examples(language: Language, count: int, seed: int) -> list[Example]:
    """``count`` texts of ours that judge nothing, drawn evenly, each with a choice made; their soft label is one half."""
    rng = random.Random(seed)
    texts = everyday_neutral(language, "train")
    drawn = (with_choices_made(rng.choice(texts), rng) for _ in range(count))
    return [Example(text, i % 2, NEUTRAL, 0.5) for i, text in enumerate(drawn)]


def statements(
    run: Run, data: Path, model: Classifier, temperature: float, tokenizer: Tokenizer, held_out: Set[str]
) -> tuple[list[Example], list[DataUse]]:
    """Sentences of the corpora in ``[data] statements``, with soft labels, and what was used.

    Args:
        run: its recipe names the corpora; its seed draws the sentences.
        data: the corpora folder.
        model: the classifier, of two classes, that training starts from.
        temperature: of its logits.
        tokenizer: its own.
        held_out: fingerprints of what must not be read.

    Raises:
        CorpusError: a corpus is missing or damaged.
    """
    examples: list[Example] = []
    used: list[DataUse] = []
    for name in run.recipe.data.statements:
        documents, use = running_text(data, name)
        lines = [line for document in documents for line in document.split("\n")]
        texts = without([line for line in lines if len(line) >= FEWEST_CHARACTERS], held_out)
        drawn = random.Random(run.seed).sample(texts, min(EACH, len(texts)))
        run.say(f"drawing answers to {len(drawn):,} sentences of {name} toward one half")
        encoded = encode(tokenizer, drawn, run.recipe.model.backward)
        logits = final_logits(model, encoded, run.device) / (temperature * DIVISOR)
        positive = torch.softmax(logits.double(), dim=1)[:, 1].tolist()
        examples += [Example(text, int(p > 0.5), STATEMENTS, p) for text, p in zip(drawn, positive, strict=True)]
        used.append(use.model_copy(update={"rows": len(drawn)}))
    return examples, used
