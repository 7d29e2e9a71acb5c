"""Measures a language-model bundle on held-out text, beside n-gram models of the same training text."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel

from export.ngrams import train_word_models
from export.scoring import OpenBundle, token_nll
from export.suggest import BundleSuggester, NGramSuggester, Suggester
from export.word_metrics import SUGGESTIONS, keystroke_savings, milliseconds_per_suggestion, top_k_recall
from export.words import Prompt, TextSize, measure_text, sample_prompts, split_document
from models.corpora import OPEN_TEXT, documents
from service.bundle import Language

SAMPLE_SEED = 1
START_ID, END_ID = 1, 2
TIMED_PROMPTS = 50
MISSES_KEPT = 2  # of each corpus, as examples
MISS_CONTEXT = 60  # characters
NGRAMS = {1: "unigram", 2: "bigram KN", 5: "5-gram KN"}  # Kneser-Ney


@dataclass(frozen=True)
class SampleSizes:
    """How much of each held-out corpus is measured.

    Args:
        units: at most so many words (English) or characters (Chinese), whole documents, for perplexity.
        words: places where the next word is asked for.
        typed_words: those of them that are also typed out, for keystroke savings.
    """

    units: int = 60_000
    words: int = 2_000
    typed_words: int = 400

    @classmethod
    def at_most(cls, words: int) -> SampleSizes:
        """For a quick look: fewer words, and text in proportion."""
        full = cls()
        return cls(min(full.units, 25 * words), min(full.words, words), min(full.typed_words, words))


class PredictorResult(BaseModel, frozen=True):
    """One model on one corpus.

    Args:
        name: the bundle, or the kind of n-gram model.
        perplexity: exp(nats / units): what lines and documents end with is paid for, not counted as a unit.
        perplexity_with_ends: exp(nats / (units + ends)), as benchmarks with an end mark per line count.
        bits_per_character: bits / characters.
        top1: share of real words that came first, see ``word_metrics.top_k_recall``.
        top3: share of real words that were among the first three.
        keystroke_savings: see ``word_metrics.keystroke_savings``.
        milliseconds: median time to suggest three words after a context that was not read before.
        megabytes: of the model's numbers and words in memory.
    """

    name: str
    perplexity: float
    perplexity_with_ends: float
    bits_per_character: float
    top1: float
    top3: float
    keystroke_savings: float
    milliseconds: float
    megabytes: float


class Miss(BaseModel, frozen=True):
    """A place where the longest n-gram model had the word among its first three and the bundle had not."""

    context: str
    word: str
    suggested: list[str]


class CorpusResult(BaseModel, frozen=True):
    """All models on one held-out corpus; the bundle first."""

    corpus: str
    documents: int
    units: int
    words_asked: int
    words_typed: int
    predictors: list[PredictorResult]
    misses: list[Miss] = []


class LanguageModelReport(BaseModel, frozen=True):
    """What was measured of a language model."""

    language: Language
    unit: str
    training_words: int
    corpora: list[CorpusResult]

    def quality(self) -> dict[str, float]:
        """Flat metric names for the manifest, the n-gram models' top-3 beside the bundle's."""
        flat: dict[str, float] = {}
        for corpus in self.corpora:
            ours, *others = corpus.predictors
            flat |= {
                f"{corpus.corpus}_{self.unit}_perplexity": round(ours.perplexity, 2),
                f"{corpus.corpus}_bits_per_character": round(ours.bits_per_character, 4),
                f"{corpus.corpus}_top1": round(ours.top1, 4),
                f"{corpus.corpus}_top3": round(ours.top3, 4),
                f"{corpus.corpus}_keystroke_savings": round(ours.keystroke_savings, 4),
            }
            flat |= {f"{corpus.corpus}_top3_{other.name.split()[0]}": round(other.top3, 4) for other in others}
        return flat


def measure_language_model(
    bundle: OpenBundle, data: Path, sizes: SampleSizes, say: Callable[[str], None]
) -> LanguageModelReport:
    """Measure a bundle and n-gram models on the valid part of each corpus that it was trained on.

    Args:
        bundle: a language model.
        data: the corpora folder.
        sizes: how much of each corpus.
        say: told what is being done.

    Raises:
        CorpusError: a corpus can't be read.
    """
    language = bundle.manifest.language
    names = corpora_of(bundle)
    say("reading the training text")
    training = [document for name in names for document in read_documents(bundle, data, name, "train")]
    say("counting n-grams")
    models = train_word_models(training, list(NGRAMS))
    suggesters: list[Suggester] = [BundleSuggester(bundle), *(NGramSuggester(model, language) for model in models)]
    results = []
    for name in names:
        say(f"measuring {name}")
        held_out = held_out_documents(bundle, data, name, sizes)
        size = measure_text(held_out, language)
        nats = [bundle_nll(bundle, held_out), *(model.nll(held_out) for model in models)]
        asked = sample_prompts(held_out, language, sizes.words, SAMPLE_SEED)
        typed = random.Random(SAMPLE_SEED).sample(asked, min(sizes.typed_words, len(asked)))
        predictors = []
        answers = []
        for title, nll, suggester in zip([bundle.manifest.id, *NGRAMS.values()], nats, suggesters, strict=True):
            say(f"measuring {name}: {title}")
            suggested = suggester.suggest(asked, [""] * len(asked), SUGGESTIONS)
            predictors.append(
                PredictorResult(
                    name=title,
                    **perplexities(nll, size),
                    top1=top_k_recall(asked, suggested, 1),
                    top3=top_k_recall(asked, suggested, SUGGESTIONS),
                    keystroke_savings=keystroke_savings(suggester, typed, spaced=language == "en"),
                    milliseconds=milliseconds_per_suggestion(suggester, asked[:TIMED_PROMPTS]),
                    megabytes=suggester.megabytes,
                )
            )
            answers.append(suggested)
        results.append(
            CorpusResult(
                corpus=name,
                documents=len(held_out),
                units=size.units,
                words_asked=len(asked),
                words_typed=len(typed),
                predictors=predictors,
                misses=misses(asked, ours=answers[0], theirs=answers[-1]),
            )
        )
    unit = "word" if language == "en" else "character"
    return LanguageModelReport(language=language, unit=unit, training_words=sum(map(len, training)), corpora=results)


def measure_perplexities(bundle: OpenBundle, data: Path, sizes: SampleSizes) -> dict[str, float]:
    """The bundle's perplexity alone, on the text that :func:`measure_language_model` measures it on; by corpus."""
    found = {}
    for name in corpora_of(bundle):
        held_out = held_out_documents(bundle, data, name, sizes)
        size = measure_text(held_out, bundle.manifest.language)
        found[name] = perplexities(bundle_nll(bundle, held_out), size)["perplexity"]
    return found


def corpora_of(bundle: OpenBundle) -> list[str]:
    """Corpora that it was trained on and that have a held-out part."""
    return [source.name for source in bundle.manifest.training_data if source.name in OPEN_TEXT]


def held_out_documents(bundle: OpenBundle, data: Path, name: str, sizes: SampleSizes) -> list[list[str]]:
    """Drawn documents of a corpus's valid part, the same for every tokenizer."""
    return _draw(read_documents(bundle, data, name, "valid"), bundle.manifest.language, sizes.units)


def misses(prompts: Sequence[Prompt], ours: Sequence[list[str]], theirs: Sequence[list[str]]) -> list[Miss]:
    """Some places where another model suggested the word and ours did not, drawn evenly."""
    found = [
        Miss(context=prompt.context[-MISS_CONTEXT:], word=prompt.word, suggested=words)
        for prompt, words, others in zip(prompts, ours, theirs, strict=True)
        if prompt.word in others and prompt.word not in words
    ]
    return random.Random(SAMPLE_SEED).sample(found, min(MISSES_KEPT, len(found)))


def perplexities(nats: float, size: TextSize) -> dict[str, float]:
    """The first three measures of a model from the nats it gives to a text; see :class:`PredictorResult`."""
    return {
        "perplexity": math.exp(nats / size.units),
        "perplexity_with_ends": math.exp(nats / (size.units + size.ends)),
        "bits_per_character": nats / math.log(2) / size.characters,
    }


def read_documents(bundle: OpenBundle, data: Path, name: str, part: str) -> list[list[str]]:
    """Documents of a text corpus as words, in the corpus's order."""
    return [split_document(bundle.tokenizer, "\n".join(lines)) for lines in documents(data, name, part)]


def bundle_nll(bundle: OpenBundle, held_out: Sequence[Sequence[str]]) -> float:
    """Nats that the bundle gives to whole documents, their ends included."""
    sequences = [[START_ID, *bundle.tokenizer.ids("".join(words)), END_ID] for words in held_out]
    return float(sum(nll.sum() for nll in token_nll(bundle.engine, sequences)))


def _draw(held_out: list[list[str]], language: Language, units: int) -> list[list[str]]:
    """Documents in a drawn order until they hold so many units."""
    order = random.Random(SAMPLE_SEED).sample(range(len(held_out)), len(held_out))
    drawn: list[list[str]] = []
    taken = 0
    for i in order:
        if taken >= units:
            break
        drawn.append(held_out[i])
        taken += measure_text([held_out[i]], language).units
    return drawn
