"""Distillation: what larger, backward or several teachers say of a text becomes what a small student learns.

Source: Hinton et al. 2015 (arXiv:1503.02531); Tang et al. 2019 (arXiv:1903.12136), whose student is a recurrent one, too.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import Tensor

from models.calibration import final_logits
from models.checkpoint import CheckpointConfig, load_checkpoint
from models.classifier import Classifier
from models.corpora import Language
from models.data import IdArray, encode
from models.loop import Run, TrainingError

SENTENCE_END = re.compile(r"(?<=[.!?。！？…])[\"'”’)）]*\s*|(?:<br />\s*)+|\n+")
SENTENCE_CHARACTERS: dict[Language, tuple[int, int]] = {"en": (15, 300), "zh": (4, 100)}  # fewest, most


def load_teachers(run: Run) -> dict[str, tuple[CheckpointConfig, Classifier, Tokenizer]]:
    """The teachers of a run, by the names of their folders.

    Raises:
        CheckpointError: a teacher cannot be read.
        TrainingError: a teacher is no classifier with the recipe's language and labels.
    """
    found = {}
    for folder in run.teachers:
        config, module, tokenizer = load_checkpoint(folder)
        asked = run.recipe.language, run.recipe.labels
        if not isinstance(module, Classifier) or (config.language, module.config.labels) != asked:
            raise TrainingError(
                f"{folder} is no teacher for {run.recipe.name}: a classifier of {', '.join(run.recipe.labels)} "
                f"in {run.recipe.language} is needed"
            )
        found[folder.name] = config, module, tokenizer
    return found


def teacher_probabilities(run: Run, texts: Sequence[str]) -> Tensor:
    """What the teachers of a run say of texts, on average.

    Returns:
        (N, C) mean over the teachers of their calibrated probabilities.

    Raises:
        CheckpointError, TrainingError: see :func:`load_teachers`.
    """
    total = torch.zeros(len(texts), len(run.recipe.labels))
    read: dict[tuple[str, bool], list[IdArray]] = {}  # teachers often share a tokenizer
    for name, (config, module, tokenizer) in load_teachers(run).items():
        run.say(f"asking {name} about {len(texts):,} texts")
        way = tokenizer.to_str(), config.backward
        encoded = read[way] if way in read else read.setdefault(way, encode(tokenizer, texts, config.backward))
        with torch.autocast(run.device, torch.bfloat16):
            logits = final_logits(module.to(run.device), encoded, run.device)
        total += torch.softmax(logits / config.temperature, dim=1)
    return total / len(run.teachers)


def drawn_sentences(texts: Sequence[str], language: Language, most: int, seed: int) -> list[str]:
    """Distinct sentences of texts, drawn evenly if there are more than ``most``; the same for the same seed."""
    if not most:
        return []
    found = sorted({sentence for text in texts for sentence in sentences(text, language)})
    if len(found) <= most:
        return found
    drawn = np.random.default_rng(seed).choice(len(found), most, replace=False)
    return [found[i] for i in sorted(drawn.tolist())]


def sentences(text: str, language: Language) -> list[str]:
    """The sentences of a text that are neither very short nor very long."""
    fewest, most = SENTENCE_CHARACTERS[language]
    return [part for part in map(str.strip, SENTENCE_END.split(text)) if fewest <= len(part) <= most]


def blended(own: Tensor, teachers: Tensor, share: float) -> Tensor:
    """Targets of texts, of which the first ones have labels of their own.

    Args:
        own: (M, C), M <= N.
        teachers: (N, C) what the teachers say of all.
        share: of the teachers, where there is a label, too.

    Returns:
        (N, C).
    """
    return torch.cat([share * teachers[: len(own)] + (1 - share) * own, teachers[len(own) :]])
