"""Model card: what a bundle is, was trained on, is worth and gets wrong, as Markdown made from its manifest and metrics."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from export.behaviour import BehaviourReport
from export.bundle import write_quality
from export.evaluate import Report
from export.evaluate_language_model import Miss
from export.markdown import markdown_table
from export.neutral import FIRM
from export.quality_page import behaviour_table
from models.checkpoint import write_json
from service.bundle import CARD_FILE, METRICS_FILE, WEIGHTS_FILE, Manifest, load_manifest

LANGUAGES = {"en": "English", "zh": "Chinese"}

INTENDED_USE = {
    "sentiment": """Labels the sentiment of reviews, comments and other texts that judge something, and shows after every token how
sure it is. Made for back ends that sort or watch many texts. It was trained with {labels} labels: a text that judges nothing
gets one of them all the same, often with more certainty than it deserves, and a mere word for a religion or a people may tip it. It is no
judge of persons, and nothing of weight should hang on a single answer. Irony, quotations of other opinions, praise or blame that a fact alone implies, and negation
in unusual words mislead it, and it may be sure of itself then; see the failures below.""",
    "language-model": """Suggests the next word while someone types, and completes short texts. It knows the everyday language of its
training corpora. It repeats what they say, knows nothing of the world, and what it writes may be false or offensive: show
suggestions to the person who types, do not publish completions unread.""",
}


def note_in_bundle(folder: Path, report: Report) -> None:
    """Write what was measured into the bundle's manifest and metrics, and its model card anew."""
    write_quality(folder, report.quality())
    examples: dict[str, Any] = {}
    if report.behaviour is not None:
        examples["behaviour"] = report.behaviour.model_dump(mode="json")
    if report.language_model is not None:
        examples["misses"] = [
            miss.model_dump(mode="json") for corpus in report.language_model.corpora for miss in corpus.misses
        ]
    if examples:
        path = folder / METRICS_FILE
        write_json(path, json.loads(path.read_text(encoding="utf-8")) | examples)
    write_card(folder)


def write_card(folder: Path) -> None:
    """Write the card of a bundle beside its manifest.

    Raises:
        BundleError: the manifest is missing or wrong.
    """
    path = folder / METRICS_FILE
    metrics = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    megabytes = (folder / WEIGHTS_FILE).stat().st_size / 1e6
    (folder / CARD_FILE).write_text(model_card(load_manifest(folder), metrics, megabytes), encoding="utf-8")


def model_card(manifest: Manifest, metrics: dict[str, Any], megabytes: float) -> str:
    """The card as Markdown.

    Args:
        manifest: of the bundle.
        metrics: content of ``metrics.json``; what is missing there is left out.
        megabytes: size of the weights file.
    """
    size = (
        f"{manifest.cell.upper()}, {manifest.num_layers} × {manifest.hidden_size}, embedding {manifest.embedding_dim}"
    )
    about = [
        ["task", manifest.task],
        ["language", LANGUAGES[manifest.language]],
        ["network", f"{size}, vocabulary {manifest.vocab_size:,}: {manifest.parameters:,} weights, {megabytes:.1f} MB"],
        ["arithmetic", manifest.precision],
        ["longest text", f"{manifest.max_tokens:,} tokens"],
        ["state", f"{manifest.state_size * 4:,} bytes hold a text's whole past"],
        ["created", manifest.created],
    ]
    if manifest.labels:
        about.insert(1, ["labels", ", ".join(manifest.labels)])
    parts = [
        f"# {manifest.id}\n",
        markdown_table(["", ""], about),
        f"## Intended use\n\n{INTENDED_USE[manifest.task].format(labels=len(manifest.labels))}\n",
        _training(manifest, metrics),
        _quality(manifest),
    ]
    if "behaviour" in metrics:
        report = BehaviourReport.model_validate(metrics["behaviour"])
        parts.append(f"## Behaviour and known failures\n\n{behaviour_table(report)}\n{_failures(report)}")
    if metrics.get("misses"):
        parts.append(_misses([Miss.model_validate(miss) for miss in metrics["misses"]]))
    parts += [_calibration(manifest, metrics), _parity(manifest)]
    return "\n".join(part.rstrip() + "\n" for part in parts)


def _training(manifest: Manifest, metrics: dict[str, Any]) -> str:
    rows = [[s.name, f"{s.rows:,}" if s.rows else "", s.licence, s.source, s.citation] for s in manifest.training_data]
    text = f"## Training\n\n{markdown_table(['corpus', 'texts', 'licence as stated', 'source', 'citation'], rows)}"
    if "minutes" in metrics:
        how = (
            f"{metrics['minutes']:.0f} minutes on {metrics['device']}, seed {metrics['seed']}, torch {metrics['torch']}"
        )
        trained = "Trained in"
        if averaged := metrics.get("averaged"):
            text += f"\nThe weights are the mean of {len(averaged)} models: {_averaged(averaged)}."
            trained = "The first of them was trained in"
        text += f"\n{trained} {how}{_start(metrics)}{_teachers(metrics)}. The recipe is in `metrics.json`.\n"
    return text


def _averaged(runs: list[dict[str, Any]]) -> str:
    """The models whose mean this one is, with their shares."""
    return "; ".join(
        f"{run['share']:.2f} of one trained in {run['minutes']:.0f} minutes on {run['device']}, seed {run['seed']}"
        if "minutes" in run
        else f"{run['share']:.2f} of {run['name']}"
        for run in runs
    )


def _start(metrics: dict[str, Any]) -> str:
    """What the run began with, if it was a model, and what that one began with."""
    before = metrics.get("started_from")
    if not before:
        return ""
    device = f" on {before['device']}" if "device" in before else ""
    return f", from {before['name']} as trained in {before['minutes']:.0f} minutes{device}{_start(before)}"


def _teachers(metrics: dict[str, Any]) -> str:
    """Whom the run learned from, beside the labels."""
    taught = list(metrics.get("teachers") or [])
    if taught and (metrics["recipe"].get("distillation") or {}).get("linear"):
        taught.append("linear models over n-grams")
    return f"; taught by {', '.join(taught)}" if taught else ""


def _quality(manifest: Manifest) -> str:
    if not manifest.quality:
        return "## Quality\n\nNot measured yet: `rnnserve evaluate`.\n"
    rows = [[name, f"{value:g}"] for name, value in manifest.quality.items() if not name.startswith("behaviour_")]
    firm = f" `_firm`: the share of texts without a verdict that are answered with {FIRM:.0%} or more; lower is better."
    legend = firm if any(name.endswith("_firm") for name in manifest.quality) else ""
    table = markdown_table(["measure", "value"], rows)
    return f"## Quality\n\nMeasured through this bundle by `rnnserve evaluate`.{legend}\n\n{table}"


def _failures(report: BehaviourReport) -> str:
    lines = []
    for category in report.categories:
        for failure in category.failures:
            answers = "; ".join(f"“{t}” {p:.0%}" for t, p in zip(failure.texts, failure.positive, strict=True))
            lines.append(f"- {category.category}: {answers} (expected: {failure.expected})")
    return "More failures, with the probability of positive:\n\n" + "\n".join(lines) + "\n" if lines else ""


def _misses(misses: list[Miss]) -> str:
    rows = [[f"… {m.context}", m.word, ", ".join(m.suggested)] for m in misses]
    return (
        "## Known failures\n\nHeld-out places where a 5-gram model of the same training text had the next word among its first three "
        f"and this model had not.\n\n{markdown_table(['text', 'next word', 'suggested'], rows)}"
    )


def _calibration(manifest: Manifest, metrics: dict[str, Any]) -> str:
    if not manifest.labels:
        return ""
    noted = metrics.get("calibration", {})
    if noted.get("text_temperature"):
        nll = noted["cross_validated_nll"]
        kinds = noted.get("kinds", 0)
        on_text = f"the text and on how much it is like those of the {kinds} dev parts" if kinds else "the text"
        fitted = nll["text_temperature_by_kinds" if kinds else "text_temperature"]
        return (
            f"## Calibration\n\nProbabilities are softmax(logits / {manifest.temperature:.3f}); the graph has divided the logits by a "
            f"temperature within 1/e and e that depends on {on_text}. Both were fitted on the dev parts, each corpus counting alike. "
            f"On dev texts left out of the fit the negative log-likelihood is {fitted:.4f}; with one temperature for all it is "
            f"{nll['one_temperature']:.4f}.\n"
        )
    return (
        "## Calibration\n\n"
        f"Probabilities are softmax(logits / {manifest.temperature:.3f}); the temperature has the least negative "
        "log-likelihood on the dev parts, each corpus counting alike.\n"
    )


def _parity(manifest: Manifest) -> str:
    parity = manifest.parity
    rows = [
        ["PyTorch to ONNX Runtime", f"{parity.max_error:.2g}", f"{parity.tolerance:g}"],
        [
            "alone and whole, to among others and in parts",
            f"{parity.max_invariance_error:.2g}",
            f"{parity.invariance_tolerance:g}",
        ],
    ]
    files = [[name, f"`{digest}`"] for name, digest in manifest.files.items()]
    return (
        f"## Parity\n\nOver {len(parity.cases)} combinations of batch, length, chunking and state, torch {parity.torch}, "
        f"ONNX Runtime {parity.onnxruntime}.\n\n{markdown_table(['difference', 'largest', 'tolerance'], rows)}\n"
        f"{markdown_table(['file', 'SHA-256'], files)}"
    )
