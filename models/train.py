"""Recipe and data -> checkpoint: tokenizer, language-model stage, classifier stage, distillation, calibration; seeded, bounded in time, resumable."""

from __future__ import annotations

import json
import platform
from collections.abc import Sequence, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer

from models.calibration import FEWEST, Calibration, accuracies, calibrate, dev_part, uncalibrated
from models.checkpoint import (
    METRICS_FILE,
    TOKENIZER_FILE,
    CheckpointConfig,
    DataUse,
    load_checkpoint,
    save_checkpoint,
    write_json,
)
from models.classifier import Classifier, ClassifierConfig
from models.closed_vocabulary import check_words, perplexities, word_tokenizer
from models.corpora import (
    EVERYDAY,
    Example,
    closed_text,
    everyday,
    fingerprint,
    held_out_fingerprints,
    labelled,
    own_examples,
    running_text,
    training_examples,
    unlabelled_texts,
    without,
)
from models.data import encode
from models.distillation import Texts, load_teachers, taught, teacher_probabilities
from models.language_model import LanguageModel, LanguageModelConfig
from models.loop import ANSWERS_FILE, RESUME_FILE, Run, TrainingError, average
from models.negation import NEGATION, negated_sentences, negation_examples, polar_words
from models.recipe import ModelSection, Recipe
from models.stages import (
    CLASSIFIER,
    DISTILLATION,
    LANGUAGE_MODEL,
    class_weights,
    lessons_of,
    targets_of,
    train_classifier,
    train_language_model,
)
from models.statements import NEUTRAL, neutral_examples, statements
from models.tokenizer import train_tokenizer
from models.trunk import TrunkConfig
from models.typed_texts import as_typed

Labelled = tuple[list[Example], dict[str, list[Example]], list[DataUse]]
OWN_LICENCE = "the owner's"
MEASURED = frozenset({"quality", "behaviour", "misses"})  # what evaluation notes in ``metrics.json``


def train(run: Run) -> dict[str, Any]:
    """Train what the recipe says, and write the checkpoint and its metrics into ``run.out``.

    Returns:
        The metrics, as in ``metrics.json``.

    Raises:
        CorpusError: a corpus or the user's own file cannot be used.
        CheckpointError: the checkpoint to start from cannot be read.
        TrainingError: the device is missing, the checkpoint to start from does not fit the recipe, a killed run's file is damaged, or the loss is no number any more.
    """
    if run.device == "cuda" and not torch.cuda.is_available():
        raise TrainingError("no CUDA device here; leave --device out to train on the CPU")
    _make_folder(run.out)
    if run.own_texts is not None and run.recipe.distillation is not None and run.recipe.distillation.linear:
        raise TrainingError(f"the recipe {run.recipe.name} has linear teachers for corpora: own texts have none")
    start = None if run.init is None else _checkpoint_to_start_from(run.init, run.recipe)
    if start is not None:
        run.recipe = run.recipe.model_copy(update={"model": _sizes_of(start, run.recipe.model)})
    recipe = run.recipe
    if run.tokenizer is not None and start is not None:
        raise TrainingError("--init brings its own tokenizer; leave --tokenizer out")
    last = (
        recipe.distillation if run.teachers else recipe.classifier
    )  # the section of the stage that leaves the classifier
    if run.teachers and recipe.distillation is None:
        raise TrainingError(f"the recipe {recipe.name} has no [distillation] section for teachers")
    if recipe.task == "sentiment" and last is None:
        raise TrainingError(f"the recipe {recipe.name} has no [classifier] section: it learns from --teacher alone")
    if last is not None and last.start_share and not _goes_on(start, recipe):
        raise TrainingError(f"{recipe.name} goes on from a classifier with its labels (start_share): give --init")
    if recipe.data.statements and run.own_texts is None and not _goes_on(start, recipe):
        raise TrainingError(
            f"{recipe.name} has sentences that a classifier with its labels judges (statements): give --init"
        )
    load_teachers(run)  # what is wrong with one is found now, not after the stages before
    run.find_saved()
    torch.manual_seed(run.seed)
    examples, dev, used = _labelled_data(run)
    unlabelled, text_used = _running_text(run)
    # Phrases with soft labels are parts of sentences that stand there already.
    running = [text for texts in unlabelled.values() for text in texts]
    texts = running + [example.text for example in examples if example.positive is None]
    tokenizer = _tokenizer(run, texts) if start is None else start.tokenizer
    if recipe.data.closed is not None:
        check_words(tokenizer, texts, f"{recipe.data.closed}'s train part")
    judged, judged_used = _statements(run, start)
    trunk = TrunkConfig(
        cell=recipe.model.cell,
        vocab_size=tokenizer.get_vocab_size(),
        embedding_dim=recipe.model.embedding_dim,
        hidden_size=recipe.model.hidden_size,
        num_layers=recipe.model.num_layers,
    )
    language_model = _language_model(run, trunk, tokenizer, texts, start)
    config = CheckpointConfig(
        name=recipe.name,
        task=recipe.task,
        language=recipe.language,
        training_data=_all_uses(start, used, text_used, judged_used),
    )
    calibrated: Calibration | None = None
    if last is None and language_model is not None:
        save_checkpoint(
            run.out, config.model_copy(update={"language_model": language_model.config}), language_model, tokenizer
        )
        if recipe.data.closed is not None:
            measured = perplexities(run, _data_folder(run), recipe.data.closed, language_model, tokenizer)
            run.finished[LANGUAGE_MODEL]["perplexity"] = measured
    elif last is not None:
        model = Classifier(
            ClassifierConfig(
                trunk=trunk, pools=recipe.model.pools, head_size=recipe.model.head_size, labels=recipe.labels
            )
        ).to(run.device)
        same_start = start.module if start is not None and _goes_on(start, recipe) else None
        if same_start is not None:
            model.load_state_dict(same_start.state_dict())
        elif start is not None:
            model.trunk.load_state_dict(start.module.trunk.state_dict())
        if language_model is not None:
            model.trunk.load_state_dict(language_model.trunk.state_dict())
        pretrained = language_model is not None or start is not None
        known = Texts([*examples, *judged], unlabelled, dev, _held_out(run) if run.teachers else set())
        averaged = _classifier_stages(run, model, tokenizer, known, pretrained)
        if same_start is not None:
            average(averaged, same_start.to(run.device), 1 - last.start_share)
        otherwise = start.config.temperature if start is not None and same_start is not None else 1.0
        backward = recipe.model.backward
        calibrated, run.finished[last_stage(run)]["dev"] = _calibrate(
            run, averaged, tokenizer, dev, otherwise, backward
        )
        save_checkpoint(run.out, _calibrated(config, calibrated, backward), calibrated.model, tokenizer)
    metrics = _metrics(run, start)
    if calibrated is not None:
        metrics["calibration"] = calibrated.summary()
    write_json(run.out / METRICS_FILE, metrics)
    for file in (RESUME_FILE, ANSWERS_FILE):
        (run.out / file).unlink(missing_ok=True)
    run.say(f"wrote {run.out}")
    return metrics


def _make_folder(out: Path) -> None:
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise TrainingError(f"{out}: no folder can be made there ({error.strerror})") from error


def _all_uses(start: _Start | None, *uses: Sequence[DataUse]) -> tuple[DataUse, ...]:
    """What the checkpoint to start from was trained on, then what came now; a corpus used twice stands once."""
    by_name = {use.name: use for use in (start.config.training_data if start else ())}
    for use in (use for several in uses for use in several):
        by_name[use.name] = use
    return tuple(by_name.values())


def _metrics(run: Run, start: _Start | None) -> dict[str, Any]:
    return {
        "recipe": run.recipe.model_dump(mode="json"),
        "seed": run.seed,
        "teachers": [folder.name for folder in run.teachers],
        "device": torch.cuda.get_device_name() if run.device == "cuda" else "cpu",
        "machine": platform.machine(),
        "torch": torch.__version__,
        "stages": run.finished,
        "minutes": round(run.spent_s / 60, 2),
        "started_from": None if start is None else {"name": start.config.name, **start.history},
    }


@dataclass(frozen=True)
class _Start:
    """A checkpoint to start from."""

    config: CheckpointConfig
    module: Classifier | LanguageModel
    tokenizer: Tokenizer
    history: dict[str, Any]  # how it was trained: stages, minutes, and what it started from itself


def _checkpoint_to_start_from(folder: Path, recipe: Recipe) -> _Start:
    config, module, tokenizer = load_checkpoint(folder)
    if config.language != recipe.language:
        raise TrainingError(
            f"{folder} holds a model of {config.language}, the recipe {recipe.name} is for {recipe.language}"
        )
    if recipe.task == "language-model" and not isinstance(module, LanguageModel):
        raise TrainingError(f"{folder} holds a classifier; a language model cannot start from it")
    path = folder / METRICS_FILE
    metrics = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    history = {
        key: metrics[key] for key in ("stages", "minutes", "device", "teachers", "started_from") if key in metrics
    }
    if isinstance(module, Classifier):
        module = uncalibrated(module)
    return _Start(config, module, tokenizer, history)


def _goes_on(start: _Start | None, recipe: Recipe) -> bool:
    """Whether the start is a classifier with the recipe's labels; its sizes are the run's anyway.

    Its weights may keep a share of the trained ones: the mean of both is as good at the new as at the old.
    Source: Wortsman et al. 2022 (arXiv:2109.01903).
    """
    return start is not None and isinstance(start.module, Classifier) and start.module.config.labels == recipe.labels


def _sizes_of(start: _Start, wanted: ModelSection) -> ModelSection:
    """The [model] section as the checkpoint to start from has it: its sizes, whatever the recipe says."""
    architecture = start.module.config
    trunk = architecture.trunk.model_dump(exclude={"vocab_size"}) | {"backward": start.config.backward}
    head = architecture.model_dump(include={"pools", "head_size"}) if isinstance(architecture, ClassifierConfig) else {}
    return wanted.model_copy(update=trunk | head)


def _language_model(
    run: Run, trunk: TrunkConfig, tokenizer: Tokenizer, texts: Sequence[str], start: _Start | None
) -> LanguageModel | None:
    """Trained, if the recipe has that stage; with random weights if a killed run is past it and has only the classifier."""
    section = run.recipe.language_model
    if section is None:
        return None
    model = LanguageModel(LanguageModelConfig(trunk=trunk)).to(run.device)
    if start is not None and isinstance(start.module, LanguageModel):
        model.load_state_dict(start.module.state_dict())
    elif start is not None:
        model.trunk.load_state_dict(start.module.trunk.state_dict())
    if run.saved is None or run.saved.stage == LANGUAGE_MODEL:
        train_language_model(run, section, model, tokenizer, texts)
    return model


def last_stage(run: Run) -> str:
    """Name of the stage that leaves the classifier."""
    return DISTILLATION if run.teachers else CLASSIFIER


def _classifier_stages(run: Run, model: Classifier, tokenizer: Tokenizer, texts: Texts, pretrained: bool) -> Classifier:
    """On the labels; then, if there are teachers, on what they say as well. Returns the trained model, in eval mode."""
    section, distillation = run.recipe.classifier, run.recipe.distillation
    if section is not None and (run.saved is None or run.saved.stage != DISTILLATION):
        weights = class_weights(texts.labelled, section.class_weights)
        own = targets_of(texts.labelled, len(run.recipe.labels))
        lessons = lessons_of(run, tokenizer, [example.text for example in texts.labelled], own, weights)
        share = section.share_of_time if run.teachers else 1.0
        model = train_classifier(run, CLASSIFIER, section, model, lessons, pretrained, share)
    if not run.teachers or distillation is None:
        return model
    lessons = lessons_of(run, tokenizer, *taught(run, distillation, texts))
    return train_classifier(run, DISTILLATION, distillation, model, lessons, pretrained=True)


# -- data --------------------------------------------------------------------------------------------------------------


def _labelled_data(run: Run) -> Labelled:
    """Training examples, dev examples by source, and what was used."""
    recipe = run.recipe
    if recipe.task != "sentiment":
        return [], {}, []
    if run.own_texts is not None:
        return _own_data(run.own_texts, recipe, run.seed)
    data = _data_folder(run)
    examples, used = training_examples(data, recipe.data.sentiment)
    examples += [e for e in examples for _ in range(recipe.data.repeat.get(e.source, 1) - 1)]
    neutral = neutral_examples(recipe.language, int(len(examples) * recipe.data.neutral_share), run.seed)
    if neutral:
        used.append(DataUse(name=NEUTRAL, licence="Apache-2.0", source="models/neutral.toml", rows=len(neutral)))
    if recipe.data.negation_share:
        count = int(len(examples) * recipe.data.negation_share)
        hard = [e for e in examples if e.positive is None]
        judge = (lambda texts: teacher_probabilities(run, texts)[:, 1].tolist()) if run.teachers else None
        known = polar_words(recipe.language, hard, judge)
        pairs = negated_sentences(recipe.language, hard, known, count // 3, run.seed)
        pairs += negation_examples(recipe.language, count - len(pairs), run.seed, known)
        examples += [Example(text, label, NEGATION) for text, label in pairs]
        used.append(DataUse(name=NEGATION, licence="Apache-2.0", source="models/negation.py", rows=count))
    return examples + neutral, _dev_parts(run), used


def _statements(run: Run, start: _Start | None) -> tuple[list[Example], list[DataUse]]:
    """Sentences of running text that the classifier to start from judges, as the recipe wants; none beside a user's own texts."""
    if not run.recipe.data.statements or run.own_texts is not None:
        return [], []
    if start is None or not isinstance(start.module, Classifier):
        raise TrainingError(f"{run.recipe.name} has statements: give a classifier with --init")
    judge = start.module.to(run.device).eval()
    return statements(run, _data_folder(run), judge, start.config.temperature, start.tokenizer, _held_out(run))


def _dev_parts(run: Run) -> dict[str, list[Example]]:
    """Of the recipe's corpora; the name of each that has one."""
    data = _data_folder(run)
    dev = {name: labelled(data, name, "dev") for name in run.recipe.data.sentiment}
    if run.recipe.data.everyday:
        dev[EVERYDAY] = everyday(run.recipe.language, "dev")
    return {name: rows for name, rows in dev.items() if rows}


def _own_data(path: Path, recipe: Recipe, seed: int) -> Labelled:
    """A user's texts, every tenth kept for dev; the same text never stands on both sides."""
    everything = own_examples(path, recipe.labels)
    keys = [fingerprint(example.text) for example in everything]
    distinct = sorted(set(keys))
    order = np.random.default_rng(seed).permutation(len(distinct)).tolist()
    held = {distinct[i] for i in order[: len(distinct) // 10]}
    examples = [example for example, key in zip(everything, keys, strict=True) if key not in held]
    dev = [example for example, key in zip(everything, keys, strict=True) if key in held]
    used = [DataUse(name=path.name.split(".")[0], licence=OWN_LICENCE, source=path.name, rows=len(examples))]
    return examples, {used[0].name: dev} if dev else {}, used


def _held_out(run: Run) -> Set[str]:
    """Fingerprints of what a classifier must not read; a user's own texts are divided already."""
    if run.data is None or run.own_texts is not None:
        return set()
    return held_out_fingerprints(run.data, run.recipe.language)


def _data_folder(run: Run) -> Path:
    if run.data is None:
        raise TrainingError(f"the recipe {run.recipe.name} needs the corpora: give --data DIR")
    if not run.data.is_dir():
        raise TrainingError(f"{run.data} is no folder; --data is the folder of the corpora")
    return run.data


def _running_text(run: Run) -> tuple[dict[str, list[str]], list[DataUse]]:
    """Documents without labels by the names that the recipe has for them, in order, and the corpora they come from."""
    recipe = run.recipe
    if recipe.language_model is None and not run.teachers:
        return {}, []
    if recipe.data.closed is not None:
        lines, use = closed_text(_data_folder(run), recipe.data.closed, "train")
        return {recipe.data.closed: lines}, [use]
    texts: dict[str, list[str]] = {}
    used: list[DataUse] = []
    held_out = _held_out(run) if recipe.data.text and recipe.task == "sentiment" else set()
    for name in recipe.data.text:
        found, use = running_text(_data_folder(run), name)
        texts[name] = without(found, held_out)
        used.append(use)
    for file in recipe.data.unlabelled:
        texts[file] = unlabelled_texts(_data_folder(run), file, recipe.language)
    return texts, used


def _given_tokenizer(path: Path) -> Tokenizer:
    try:
        return Tokenizer.from_str(path.read_text(encoding="utf-8"))
    except Exception as error:  # tokenizers raises the bare class
        raise TrainingError(f"{path}: no tokenizer.json that can be read ({error})") from error


def _tokenizer(run: Run, texts: Sequence[str]) -> Tokenizer:
    """The one a killed run has left, or a new one."""
    path = run.out / TOKENIZER_FILE
    if run.saved is not None and path.is_file():
        return Tokenizer.from_str(path.read_text(encoding="utf-8"))
    if run.tokenizer is not None:
        return _given_tokenizer(run.tokenizer)
    recipe = run.recipe
    if recipe.data.closed is not None:
        tokenizer = word_tokenizer(texts)
        tokenizer.save(str(path))
        return tokenizer
    corpus = list(texts)
    if len(corpus) > recipe.tokenizer.max_texts:
        drawn = np.random.default_rng(run.seed).choice(len(corpus), recipe.tokenizer.max_texts, replace=False)
        corpus = [corpus[i] for i in sorted(drawn.tolist())]
    run.say(f"training the tokenizer on {len(corpus):,} texts")
    is_lm = recipe.task == "language-model"
    tokenizer = train_tokenizer(
        recipe.language, corpus, recipe.tokenizer.vocab_size, lowercase=not is_lm, specials=is_lm
    )
    tokenizer.save(str(path))
    return tokenizer


# -- calibration -------------------------------------------------------------------------------------------------------


def recalibrate(run: Run, checkpoint: Path) -> Calibration:
    """Calibrate a classifier that is trained, on the dev parts of the recipe it was trained by, and write it to ``run.out``.

    What was measured of it is left out of its metrics: probabilities are other ones now.

    Raises:
        CorpusError: a corpus cannot be used.
        CheckpointError: the checkpoint cannot be read.
        TrainingError: it is no classifier, its language or labels are not the recipe's, or there is no folder to write to.
    """
    config, module, tokenizer = load_checkpoint(checkpoint)
    recipe = run.recipe
    if not isinstance(module, Classifier):
        raise TrainingError(f"{checkpoint} holds a language model: only classifiers are calibrated")
    if (config.language, module.config.labels) != (recipe.language, recipe.labels):
        raise TrainingError(
            f"{checkpoint} holds a model of {config.language} with the labels {', '.join(module.config.labels)}, "
            f"the recipe {recipe.name} is for {recipe.language} with {', '.join(recipe.labels)}"
        )
    dev = _dev_parts(run)
    _make_folder(run.out)
    model = uncalibrated(module).to(run.device)
    calibrated, _ = _calibrate(run, model, tokenizer, dev, config.temperature, config.backward)
    save_checkpoint(run.out, _calibrated(config, calibrated, config.backward), calibrated.model, tokenizer)
    path = checkpoint / METRICS_FILE
    metrics = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    kept = {key: value for key, value in metrics.items() if key not in MEASURED}
    write_json(run.out / METRICS_FILE, kept | {"calibration": calibrated.summary()})
    run.say(f"wrote {run.out}")
    return calibrated


def _calibrated(config: CheckpointConfig, found: Calibration, backward: bool) -> CheckpointConfig:
    return config.model_copy(
        update={"classifier": found.model.config, "temperature": found.temperature, "backward": backward}
    )


def _calibrate(
    run: Run,
    model: Classifier,
    tokenizer: Tokenizer,
    dev: dict[str, list[Example]],
    otherwise: float,
    backward: bool,
) -> tuple[Calibration, dict[str, float]]:
    """The calibrated classifier, with the temperature ``otherwise`` if there are too few dev texts, and dev accuracy per source.

    Where training texts lose marks, dev texts count as they are and without marks alike.
    """
    parts = {}
    for name, rows in dev.items():
        texts = [example.text for example in rows]
        ways = [texts]
        if run.recipe.data.unmarked_share and len(rows) >= FEWEST:
            ways.append(as_typed(texts, 1.0, 0.0, run.seed))
        encoded = [encode(tokenizer, way, backward) for way in ways]
        parts[name] = dev_part(model, encoded, [example.label for example in rows], run.device)
    measured = accuracies({name: (part.logits[0], part.labels) for name, part in parts.items()})
    for name, accuracy in measured.items():
        run.say(f"dev {name}: {accuracy:.4f} of {len(dev[name]):,}")
    if all(len(rows) < FEWEST for rows in dev.values()):
        run.say(f"fewer than {FEWEST} dev texts of a source: not calibrated, the temperature stays {otherwise:.3f}")
    found = calibrate(model, list(parts.values()), otherwise)
    if found.nll:
        told = ", ".join(f"{nll:.4f} with {way.replace('_', ' ')}" for way, nll in found.nll.items())
        run.say(f"cross-validated NLL on dev: {told}")
    return found, measured
