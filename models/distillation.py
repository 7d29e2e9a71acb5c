"""Distillation: what larger, backward or several teachers say of a text becomes what a small student learns.

Source: Hinton et al. 2015 (arXiv:1503.02531); Tang et al. 2019 (arXiv:1903.12136), whose student is a recurrent one, too.
"""

from __future__ import annotations

import hashlib
import json
import re
import time
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from tokenizers import Tokenizer
from torch import Tensor

from models.calibration import final_logits
from models.checkpoint import CheckpointConfig, load_checkpoint
from models.classifier import Classifier
from models.corpora import Example, Language, without
from models.data import IdArray, encode
from models.linear_teacher import LinearTeacher, held_out_margins
from models.loop import ANSWERS_FILE, LOG_EVERY_S, Run, TrainingError
from models.negation import NEGATION
from models.precision import autocast
from models.recipe import DistillationSection
from models.stacking import stack
from models.stages import class_weights, targets_of

SENTENCES = ""  # their source
SENTENCE_END = re.compile(r"(?<=[.!?。！？…])[\"'”’)）]*\s*|(?:<br />\s*)+|\n+")
SENTENCE_CHARACTERS: dict[Language, tuple[int, int]] = {"en": (15, 300), "zh": (4, 100)}  # fewest, most


@dataclass(frozen=True)
class Texts:
    """What a classifier is trained on: labelled examples, unlabelled texts by their names, and dev examples by source.

    No sentence with a ``held_out`` fingerprint is cut from them.
    """

    labelled: Sequence[Example]
    unlabelled: Mapping[str, Sequence[str]]
    dev: Mapping[str, Sequence[Example]]
    held_out: Set[str] = frozenset()


def taught(run: Run, section: DistillationSection, texts: Texts) -> tuple[list[str], Tensor, list[float]]:
    """What a student of the run's teachers learns from.

    Returns:
        N texts: the labelled ones, the unlabelled ones, and sentences of both; (N, C) the probabilities it should give
        them; and how much each counts.

    Raises:
        CheckpointError, TrainingError: see :func:`load_teachers`.
    """
    examples = texts.labelled
    everything = [example.text for example in examples]
    sources = [example.source for example in examples]
    kind_of = {name: corpus for corpus, names in section.linear.items() for name in names}
    for name, some in texts.unlabelled.items():
        everything += some
        sources += [kind_of.get(name, name)] * len(some)
    cut = drawn_sentences(everything, run.recipe.language, section.max_sentences, run.seed, texts.held_out)
    everything += cut
    sources += [SENTENCES] * len(cut)

    said = _kept_answers(run, everything)
    if said is None:
        dev = [example for rows in texts.dev.values() for example in rows]
        with torch.random.fork_rng(devices=[]):  # a run that need not ask ends with the same weights
            said = teacher_probabilities(run, everything + [example.text for example in dev])
        if len(run.recipe.labels) == 2:
            said = _with_linear_teachers(run, section, examples, everything, sources, dev, said)
        said = said[: len(everything)].contiguous()
        _keep_answers(run, everything, said)
    own = targets_of(examples, len(run.recipe.labels))
    sure = torch.tensor([example.positive is not None or example.source == NEGATION for example in examples])
    share = torch.where(sure, 0.0, section.teachers_share)
    weights = class_weights(examples, section.class_weights) + [1.0] * (len(everything) - len(examples))
    return everything, blended(own, said, share), weights


def _answers_key(run: Run, texts: Sequence[str]) -> str:
    """Whose answers they are, to what."""
    return hashlib.blake2b(json.dumps([run.identity(), list(texts)]).encode(), digest_size=16).hexdigest()


def _keep_answers(run: Run, texts: Sequence[str], said: Tensor) -> None:
    """To ask takes minutes, which a killed run need not spend again."""
    path = run.out / ANSWERS_FILE
    partial = path.with_name(path.name + ".partial")
    save_file({"said": said}, partial, {"key": _answers_key(run, texts)})
    partial.replace(path)


def _kept_answers(run: Run, texts: Sequence[str]) -> Tensor | None:
    """What a killed run has asked already, (N, C); None if it has not, or asked about other texts."""
    path = run.out / ANSWERS_FILE
    if not path.is_file():
        return None
    with safe_open(path, "pt") as file:
        if (file.metadata() or {}).get("key") != _answers_key(run, texts):
            return None
        said: Tensor = file.get_tensor("said")
    run.say(f"the teachers have judged {len(texts):,} texts already")
    return said


def _with_linear_teachers(
    run: Run,
    section: DistillationSection,
    examples: Sequence[Example],
    texts: Sequence[str],
    sources: Sequence[str],
    dev: Sequence[Example],
    said: Tensor,
) -> Tensor:
    """(N + D, 2) what recurrent and linear teachers say together of N texts, the labelled ``examples`` first, and of D dev texts.

    Of a labelled text, a linear teacher says what it would if it had not seen it.
    """
    every = [*texts, *(example.text for example in dev)]
    source = np.array([*sources, *(example.source for example in dev)])
    evidence = np.full((len(every), 2), np.nan)  # log-odds of the recurrent teachers, of the linear one
    evidence[:, 0] = torch.logit(said[:, 1].double(), eps=1e-5).numpy()
    for corpus in section.linear:
        run.say(f"fitting a linear teacher on {corpus}")
        own = {example.text: example for example in examples if example.source == corpus}  # repeated ones once
        labels = np.array([example.label for example in own.values()])
        weights = np.array(class_weights(list(own.values()), section.class_weights))
        seen = list(own)
        held_out = dict(zip(seen, held_out_margins(run.recipe.language, seen, labels, weights).tolist(), strict=True))
        teacher = LinearTeacher(run.recipe.language, seen, labels, weights)
        rows = np.flatnonzero(source == corpus).tolist()
        fresh = [i for i in rows if every[i] not in held_out]
        evidence[rows, 1] = [held_out.get(every[i], 0.0) for i in rows]
        if fresh:
            evidence[fresh, 1] = teacher.margins([every[i] for i in fresh])
    labels = np.array([-1] * len(texts) + [example.label for example in dev])
    weights = np.array([1.0] * len(texts) + class_weights(dev, section.class_weights))
    positive, coefficients = stack(evidence, source, labels, weights)
    for name, found in coefficients.items():
        run.say(f"recurrent and linear teachers of {name or 'sentences'} count {found}")
    return torch.from_numpy(np.stack([1 - positive, positive], axis=1)).float()


def load_teachers(run: Run) -> list[tuple[CheckpointConfig, Classifier, Tokenizer]]:
    """The teachers of a run, in its order.

    Raises:
        CheckpointError: a teacher cannot be read.
        TrainingError: a teacher is no classifier with the recipe's language and labels.
    """
    found = []
    for folder in run.teachers:
        config, module, tokenizer = load_checkpoint(folder)
        asked = run.recipe.language, run.recipe.labels
        if not isinstance(module, Classifier) or (config.language, module.config.labels) != asked:
            raise TrainingError(
                f"{folder} is no teacher for {run.recipe.name}: a classifier of {', '.join(run.recipe.labels)} "
                f"in {run.recipe.language} is needed"
            )
        found.append((config, module, tokenizer))
    return found


def teacher_probabilities(run: Run, texts: Sequence[str]) -> Tensor:
    """What the teachers of a run say of texts, on average.

    Returns:
        (N, C) mean over the teachers of their calibrated probabilities.

    Raises:
        CheckpointError, TrainingError: see :func:`load_teachers`.
    """
    # A text that counts several times is asked about once.
    place = {text: i for i, text in enumerate(dict.fromkeys(texts))}
    distinct = list(place)
    total = torch.zeros(len(distinct), len(run.recipe.labels))
    read: dict[tuple[str, bool], list[IdArray]] = {}  # teachers often share a tokenizer
    for folder, (config, module, tokenizer) in zip(run.teachers, load_teachers(run), strict=True):
        name = folder.name
        run.say(f"asking {name} about {len(distinct):,} texts")
        way = tokenizer.to_str(), config.backward
        encoded = read[way] if way in read else read.setdefault(way, encode(tokenizer, distinct, config.backward))
        with autocast(run.device):
            logits = final_logits(module.to(run.device), encoded, run.device, tell=_teller(run, name))
        total += torch.softmax(logits / config.temperature, dim=1)
    return (total / len(run.teachers))[[place[text] for text in texts]]


def _teller(run: Run, name: str) -> Callable[[float], None]:
    """Says every few seconds how far the asking is."""
    last = time.monotonic()

    def tell(share: float) -> None:
        nonlocal last
        if time.monotonic() - last >= LOG_EVERY_S:
            last = time.monotonic()
            run.say(f"{name} {share:6.1%}")

    return tell


def drawn_sentences(
    texts: Sequence[str], language: Language, most: int, seed: int, held_out: Set[str] = frozenset()
) -> list[str]:
    """Distinct sentences of texts that are no texts themselves, drawn evenly if there are more than ``most``, by the seed.

    Those with a fingerprint in ``held_out`` are left out.
    """
    if not most:
        return []
    found = sorted({sentence for text in texts for sentence in sentences(text, language)}.difference(texts))
    if len(found) > most:
        drawn = np.random.default_rng(seed).choice(len(found), most, replace=False)
        found = [found[i] for i in sorted(drawn.tolist())]
    return without(found, held_out)


def sentences(text: str, language: Language) -> list[str]:
    """The sentences of a text that are neither very short nor very long."""
    fewest, most = SENTENCE_CHARACTERS[language]
    return [part for part in map(str.strip, SENTENCE_END.split(text)) if fewest <= len(part) <= most]


def blended(own: Tensor, teachers: Tensor, share: Tensor) -> Tensor:
    """Targets of texts, of which the first ones have labels of their own.

    Args:
        own: (M, C), M <= N.
        teachers: (N, C) what the teachers say of all.
        share: (M,) of the teachers, where there is a label, too.

    Returns:
        (N, C).
    """
    return torch.cat([torch.lerp(own, teachers[: len(own)], share[:, None]), teachers[len(own) :]])
