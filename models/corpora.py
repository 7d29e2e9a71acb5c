"""Where training text comes from: readers for the corpora folder and for a user's own files, with every known leak closed.

The folder's layout and its traps are those of the corpora's own README: some sets contain others' test rows, and some
code "neutral" as 1. Rows of any dev or test part never reach training, also not as copies in another corpus.
"""

from __future__ import annotations

import csv
import gzip
import hashlib
import json
import re
import tomllib
import unicodedata
import zlib
from collections.abc import Callable, Iterable, Iterator, Set
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from models.checkpoint import DataUse

Language = Literal["en", "zh"]
Part = Literal["train", "dev", "test"]


class CorpusError(Exception):
    """A corpus or a user's file cannot be read; the message names the file, the line and what is expected."""


@dataclass(frozen=True)
class Example:
    """A text with its class, 0 negative or 1 positive; ``positive`` where raters gave it something in between."""

    text: str
    label: int
    source: str
    positive: float | None = None


@dataclass(frozen=True)
class Corpus:
    """A labelled corpus: where each part's rows come from, and what its licence says."""

    name: str
    language: Language
    licence: str
    source: str
    files: dict[str, str]  # part -> file; "all" is divided by the text's hash
    labels: dict[int | None, int] = field(
        default_factory=lambda: {0: 0, 1: 1}
    )  # the file's code -> ours; others are left out
    neutral: frozenset[int | None] = (
        frozenset()
    )  # the file's codes of rows between the classes; no recipe trains on them
    keep: Callable[[dict[str, Any]], bool] = lambda _row: True
    positive: dict[int, float] = field(default_factory=dict)  # the file's code -> soft label
    hash_test: int = 5  # percent of "all" kept for test; as much again, at most 3, for dev
    citation: str = ""


NOT_STATED = "not stated"
EVERYDAY = "everyday"  # no corpus but a file of ours
SENTIMENT: dict[str, Corpus] = {
    corpus.name: corpus
    for corpus in [
        Corpus(
            "sst2", "en", NOT_STATED, "eyalbd2/Reproducing-AutoPrompt, clairett/pytorch-sentiment-classification",
            {"train": "sst2/train_phrases.jsonl.gz", "dev": "sst2/dev.jsonl.gz", "test": "sst2/test.jsonl.gz"},
            citation="Socher et al. 2013; Wang et al. 2018",
        ),
        # The whole sentences among its training phrases, once more: written as its test file is, without hyphens and full stops.
        Corpus(
            "sst2_sentences", "en", NOT_STATED, "clairett/pytorch-sentiment-classification",
            {"train": "sst2/train_sentences.jsonl.gz"}, citation="Socher et al. 2013",
        ),
        # Every phrase of the training trees, in five steps; the neutral ones (2) have no class, their soft label says so.
        Corpus(
            "sst5", "en", NOT_STATED, "munikarmanish/RNTN", {"train": "sst5_trees/train_phrases.jsonl.gz"},
            labels={0: 0, 1: 0, 2: 1, 3: 1, 4: 1}, positive={0: 0.02, 1: 0.05, 2: 0.5, 3: 0.95, 4: 0.98}, citation="Socher et al. 2013",
        ),
        Corpus(
            "imdb", "en", NOT_STATED, "PVidyadhar/Detection-of-Fraud-apps-using-Sentiment-Analysis",
            {"all": "imdb/train.jsonl.gz", "test": "imdb/test.jsonl.gz"}, citation="Maas et al. 2011",
        ),
        Corpus(
            "cad_imdb", "en", "Apache-2.0", "acmi-lab/counterfactually-augmented-data", {"train": "cad_imdb/train.jsonl.gz"},
            citation="Kaushik et al. 2020",
        ),
        Corpus(
            "amazon_mds", "en", "not stated (repo: Apache-2.0)", "eyalbd2/Reproducing-AutoPrompt", {"all": "amazon_mds/all.jsonl.gz"},
            hash_test=10, citation="Blitzer et al. 2007; Ziser & Reichart 2018",
        ),
        # The set's own training file could not be had: its "dev" file trains here, its test file tests, and chooses with 3 %.
        Corpus(
            "yelp", "en", "not stated (repo: Apache-2.0); Yelp terms apply", "shentianxiao/language-style-transfer",
            {"train": "yelp_sentences/dev.jsonl.gz", "all": "yelp_sentences/test.jsonl.gz"}, hash_test=97, citation="Shen et al. 2017",
        ),
        Corpus(
            "airline", "en", "not stated (repo: GPL-3.0)", "AyushDhatwalia/Twitter-Airline-Sentiment", {"all": "twitter_airline/all.jsonl.gz"},
            labels={0: 0, 2: 1}, neutral=frozenset({1}), hash_test=10, citation="CrowdFlower 2015",
        ),
        Corpus(
            "semeval", "en", "not stated (repo: MIT); Twitter terms apply", "cbaziotis/datastories-semeval2017-task4",
            {"train": "semeval2017_4a/train.jsonl.gz", "test": "semeval2017_4a/test.jsonl.gz"}, labels={0: 0, 2: 1},
            neutral=frozenset({1}), citation="Rosenthal et al. 2017",
        ),
        # Other people's tweets: none trains, so that they choose and calibrate.
        Corpus(
            "sentiment140", "en", NOT_STATED, "RexZhang4321/Twitter-Sentiment-Classification", {"dev": "sentiment140_manual/test.jsonl.gz"},
            citation="Go et al. 2009",
        ),
        Corpus(
            "cr", "en", "not stated (repo: MIT)", "harvardnlp/sent-conv-torch", {"test": "cr_customer_reviews/all.jsonl.gz"},
            citation="Hu & Liu 2004",
        ),
        Corpus(
            "mr", "en", "CC BY 4.0", "nltk/nltk_data", {"test": "mr_rt_polarity/all.jsonl.gz"},
            keep=lambda row: row["in_sst"] is None, citation="Pang & Lee 2005",
        ),
        Corpus(
            "chnsenticorp", "zh", "not stated (repo: Apache-2.0)", "ymcui/Chinese-BERT-wwm",
            {part: f"chnsenticorp/{part}.jsonl.gz" for part in ("train", "dev", "test")}, citation="Tan & Zhang 2008; Cui et al. 2019",
        ),
        Corpus(
            "online_shopping", "zh", NOT_STATED, "SophonPlus/ChineseNlpCorpus", {"all": "online_shopping_10_cats/all.jsonl.gz"},
            keep=lambda row: row["in_chnsenticorp"] not in ("dev", "test"),
        ),
        Corpus("waimai", "zh", NOT_STATED, "SophonPlus/ChineseNlpCorpus", {"all": "waimai_10k/all.jsonl.gz"}),
        Corpus("appstore", "zh", "(repo: Apache-2.0)", "dmlc/web-data", {"all": "zh_appstore/all.jsonl.gz"}),
        Corpus(
            "douban", "zh", "academic research and personal study only, no commercial use (one source); not stated (two sources)",
            "bbublm/Douban-Movie-Review-Dataset, kakayuw/Sentiment-Analysis-Based-on-Douban-Movie-Critics, JohnsonKlose/dbcomments",
            {"train": "douban_short/train.jsonl.gz", "dev": "douban_short/valid.jsonl.gz", "test": "douban_short/test.jsonl.gz"},
            neutral=frozenset({None}),
        ),
    ]
}  # fmt: skip


@dataclass(frozen=True)
class TextCorpus:
    """Running text for language models: documents of lines."""

    name: str
    language: Language
    licence: str
    source: str
    folder: str
    treebank: bool = False  # tokens joined by blanks, to be joined again
    single_lines: bool = False  # every line is a document
    max_lines: int | None = None
    citation: str = ""


OPEN_TEXT: dict[str, TextCorpus] = {
    corpus.name: corpus
    for corpus in [
        TextCorpus("self_dialogue", "en", "BSD-3-Clause (repo)", "jfainberg/self_dialogue_corpus", "lm_self_dialogue", citation="Fainberg et al. 2018"),
        TextCorpus("commonvoice_en", "en", "CC0", "mozilla/voice-web", "lm_commonvoice_en", single_lines=True, citation="Ardila et al. 2020"),
        TextCorpus("tatoeba_en", "en", "CC BY 2.0", "tatoeba.org", "lm_tatoeba_en", single_lines=True, citation="tatoeba.org"),
        TextCorpus("masc", "en", "open, including commercial development", "nltk/nltk_data", "lm_masc", treebank=True, citation="Ide et al. 2010"),
        TextCorpus("sgd", "en", "CC BY-SA 4.0", "google-research-datasets/dstc8-schema-guided-dialogue", "lm_sgd_dialogues", max_lines=60_000, citation="Rastogi et al. 2020"),
        TextCorpus("onestop", "en", "CC BY-SA 4.0", "nishkalavallabhi/OneStopEnglishCorpus", "lm_onestop_english", citation="Vajjala & Lucic 2018"),
        TextCorpus("bbc_news", "en", "not stated; BBC copyright, research use", "dejanbatanjac/bbc-article-classify-bert", "lm_bbc_news", citation="Greene & Cunningham 2006"),
        TextCorpus("abc_news", "en", "not stated; ABC Australia", "nltk/nltk_data", "lm_abc_news", single_lines=True, citation="Bird et al. 2009"),
        TextCorpus("commonvoice_zh", "zh", "CC0", "mozilla/voice-web", "lm_commonvoice_zh", single_lines=True, citation="Ardila et al. 2020"),
        TextCorpus("tatoeba_zh", "zh", "CC BY 2.0", "tatoeba.org", "lm_tatoeba_zh", single_lines=True, citation="tatoeba.org"),
        TextCorpus("cmrc2018", "zh", "CC BY-SA 4.0", "ymcui/cmrc2018", "lm_cmrc2018_wiki", citation="Cui et al. 2019"),
        TextCorpus("kdconv", "zh", "Apache-2.0", "thu-coai/KdConv", "lm_kdconv", citation="Zhou et al. 2020"),
        TextCorpus("crosswoz", "zh", "Apache-2.0", "thu-coai/CrossWOZ", "lm_crosswoz", citation="Zhu et al. 2020"),
        TextCorpus("msra_news", "zh", "not stated; research (SIGHAN 2006)", "SophonPlus/ChineseNlpCorpus", "lm_msra_news", single_lines=True, citation="Levow 2006"),
        TextCorpus("douban_essays", "zh", "(repo: Apache-2.0); authors' copyright", "LightRadiance/Douban-Spider", "lm_douban_essays"),
        TextCorpus("eprstmt", "zh", NOT_STATED, "CLUEbenchmark/FewCLUE", "lm_eprstmt_unlabeled_reviews", single_lines=True, citation="Xu et al. 2021"),
        TextCorpus("tnews", "zh", NOT_STATED, "CLUEbenchmark/FewCLUE", "lm_tnews_titles", single_lines=True, citation="Xu et al. 2020"),
        TextCorpus("chid", "zh", NOT_STATED, "CLUEbenchmark/FewCLUE", "lm_chid_passages", single_lines=True, citation="Zheng et al. 2019"),
    ]
}  # fmt: skip

# Benchmarks with a closed vocabulary of whole words, rare ones written <unk>: lines of tokens, their own valid and test parts.
CLOSED_TEXT: dict[str, TextCorpus] = {
    corpus.name: corpus
    for corpus in [
        TextCorpus("ptb", "en", "not stated; the Penn Treebank itself is LDC-licensed", "timbmg/RNNLM", "lm_ptb", citation="Marcus et al. 1993; Mikolov et al. 2010"),
        TextCorpus("wikitext2", "en", "CC BY-SA 3.0", "nodiff-229/deeplearning_hw2, pytorch/examples", "lm_wikitext2", citation="Merity et al. 2017"),
    ]
}  # fmt: skip
CLOSED_PARTS = ("train", "valid", "test")
END_OF_LINE = "<eos>"


HELD_OUT_FILE = "held-out-{language}.txt"  # in a data pack: fingerprints instead of the texts
LONG_ENOUGH = {"en": 24, "zh": 8}  # letters of a text that is no common phrase


def read_rows(path: Path) -> Iterator[dict[str, Any]]:
    """JSON objects of a (gzipped) JSON-lines file, one a line, read on newlines alone."""
    for number, line in enumerate(read_lines(path), start=1):
        try:
            row = json.loads(line)
        except ValueError as error:
            raise CorpusError(f"{path}, line {number}: not JSON") from error
        if not isinstance(row, dict):
            raise CorpusError(f"{path}, line {number}: expected an object with text and label")
        yield row


def read_lines(path: Path) -> Iterator[str]:
    """Lines without their newline; ``x`` is read where there is no ``x.gz``.

    Never ``str.splitlines``: texts hold exotic separators.
    """
    if path.suffix == ".gz" and not path.is_file() and path.with_suffix("").is_file():
        path = path.with_suffix("")
    opener = gzip.open if path.suffix == ".gz" else open
    try:
        with opener(path, "rt", encoding="utf-8", newline="\n") as file:
            for line in file:
                yield line.rstrip("\r\n")
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        raise CorpusError(f"{path}: {_reason(error)}") from error


def _reason(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error)


def fingerprint(text: str) -> str:
    """A hash of the text as compared for leaks: NFKC, lower case, letters and digits only."""
    return _hash_of(_letters(text))


def _hash_of(letters: str) -> str:
    return hashlib.blake2b(letters.encode("utf-8", "replace"), digest_size=8).hexdigest()


def _letters(text: str) -> str:
    return re.sub(r"[\W_]+", "", unicodedata.normalize("NFKC", text).lower())


def _hash_percent(text: str) -> int:
    """0..99, the same on every machine."""
    digest = hashlib.md5(text.encode("utf-8", "replace"), usedforsecurity=False).digest()
    return int.from_bytes(digest[:4]) % 100


def everyday(language: Language, part: Part) -> list[Example]:
    """Texts as people type them, written for this, half of them positive: a dev and a test part, each by authors of its own."""
    texts = tomllib.loads(Path(__file__).with_name("everyday.toml").read_text(encoding="utf-8"))[part][language]
    return [Example(text, label, EVERYDAY) for text, label in texts]


def everyday_neutral(language: Language, part: Part) -> list[str]:
    """Texts as people type them that judge nothing, written for this. Those of the train part have choices, ``[a|b]``."""
    texts = tomllib.loads(Path(__file__).with_name("neutral.toml").read_text(encoding="utf-8"))[part][language]
    return list(texts)


def labelled(data: Path, name: str, part: Part) -> list[Example]:
    """One part of a corpus as it stands, before leaks between corpora are closed."""
    soft = SENTIMENT[name].positive
    return [Example(row["text"], label, name, soft.get(row["label"])) for row, label in labelled_rows(data, name, part)]


def labelled_rows(data: Path, name: str, part: Part) -> Iterator[tuple[dict[str, Any], int]]:
    """Rows of one part with their label in our code; the row keeps its further fields (for instance ``in_train``).

    Raises:
        CorpusError: the file is missing or damaged, or a row has no text or label.
    """
    yield from _rows_of_part(data, SENTIMENT[name], part)


def neutral_texts(data: Path, name: str, part: Part) -> Iterator[str]:
    """Texts of one part that raters put between the classes; none if the corpus has no such rows. Raises ``CorpusError``."""
    corpus = SENTIMENT[name]
    for row, _ in _rows_of_part(data, replace(corpus, labels=dict.fromkeys(corpus.neutral, 0)), part):
        yield row["text"]


def _rows_of_part(data: Path, corpus: Corpus, part: Part) -> Iterator[tuple[dict[str, Any], int]]:
    file = file_of(corpus, part)
    if file is not None:
        for row, label in usable_rows(data, corpus, file):
            if not is_divided(corpus, file) or part_of(corpus, row["text"]) == part:
                yield row, label


def usable_rows(data: Path, corpus: Corpus, file: str) -> Iterator[tuple[dict[str, Any], int]]:
    """Rows of a corpus's file that have a text and one of its labels, and are not left out; with our label."""
    for number, row in enumerate(read_rows(data / file), start=1):
        try:
            label = corpus.labels.get(row["label"])
            usable = label is not None and row["text"].strip() and corpus.keep(row)
        except (KeyError, TypeError, AttributeError) as error:
            raise CorpusError(f"{data / file}, line {number}: no such row as this corpus has: {error!r}") from error
        if usable and label is not None:
            yield row, label


def is_divided(corpus: Corpus, file: str) -> bool:
    """Whether the file's rows are divided into parts by the hash of their text."""
    return file == corpus.files.get("all")


def part_of(corpus: Corpus, text: str) -> Part:
    """The part that a text of a divided file belongs to."""
    test_end = 0 if "test" in corpus.files else corpus.hash_test
    dev_end = test_end + min(3, corpus.hash_test)
    percent = _hash_percent(text)
    return "test" if percent < test_end else "dev" if percent < dev_end else "train"


def file_of(corpus: Corpus, part: Part) -> str | None:
    """The file that holds a part, alone or among others; None if the corpus has no such part."""
    return corpus.files.get(part) or corpus.files.get("all")


def held_out_fingerprints(data: Path, language: Language) -> set[str]:
    """Fingerprints of every dev and test text of the language that is long enough to be no common phrase.

    A data pack brings them along; from the corpora folder they are computed, and need every corpus of the language.
    """
    packed = data / HELD_OUT_FILE.format(language=language)
    if packed.is_file():
        return set(read_lines(packed))
    found: set[str] = set()
    for corpus in SENTIMENT.values():
        if corpus.language == language:
            for part in ("dev", "test"):
                texts = (_letters(row["text"]) for row, _ in labelled_rows(data, corpus.name, part))
                found |= {_hash_of(letters) for letters in texts if len(letters) > LONG_ENOUGH[language]}
    return found


def training_examples(data: Path, names: Iterable[str]) -> tuple[list[Example], list[DataUse]]:
    """Training rows of the named corpora and what was used; without any text that some dev or test part holds, or its counterpart."""
    examples: list[Example] = []
    used: list[DataUse] = []
    held_out: dict[Language, set[str]] = {}
    for name in names:
        corpus = SENTIMENT[name]
        if corpus.language not in held_out:
            held_out[corpus.language] = held_out_fingerprints(data, corpus.language)
        out = held_out[corpus.language]
        read = list(labelled_rows(data, name, "train"))
        # A held-out text's counterpart, rewritten to the other label, says as much about it as a copy.
        pairs = {row["pair"] for row, _ in read if "pair" in row and fingerprint(row["text"]) in out}
        rows = [
            Example(row["text"], label, name, corpus.positive.get(row["label"]))
            for row, label in read
            if fingerprint(row["text"]) not in out and row.get("pair") not in pairs
        ]
        examples += rows
        if file_of(corpus, "train") is not None:
            used.append(_use(corpus, len(rows)))
    return examples, used


def unlabelled_texts(data: Path, file: str, language: Language) -> list[str]:
    """Texts of a JSON-lines file without labels, less those that some dev or test part holds.

    Raises:
        CorpusError: the file is missing or damaged, or a row has no text.
    """
    held_out = held_out_fingerprints(data, language)
    texts: list[str] = []
    for number, row in enumerate(read_rows(data / file), start=1):
        text = row.get("text")
        if not isinstance(text, str):
            raise CorpusError(f"{data / file}, line {number}: no 'text'")
        texts.append(text)
    return without(texts, held_out)


def without(texts: Iterable[str], held_out: Set[str]) -> list[str]:
    """The texts whose fingerprint is not in ``held_out``."""
    return [text for text in texts if not held_out or fingerprint(text) not in held_out]


def running_text(data: Path, name: str) -> tuple[list[str], DataUse]:
    """Training documents of a text corpus, the lines of each joined by newlines, and what was used."""
    every = list(documents(data, name, "train"))
    return ["\n".join(lines) for lines in every], _use(OPEN_TEXT[name], sum(map(len, every)))


def closed_text(data: Path, name: str, part: str) -> tuple[list[str], DataUse]:
    """Lines of a benchmark, blank ones too: their words joined by single blanks, ``<eos>`` at the end; and what was used."""
    corpus = CLOSED_TEXT[name]
    lines = [" ".join([*line.split(), END_OF_LINE]) for line in stored_lines(data, corpus, part)]
    return lines, _use(corpus, len(lines))


def _use(corpus: Corpus | TextCorpus, rows: int) -> DataUse:
    return DataUse(name=corpus.name, licence=corpus.licence, source=corpus.source, citation=corpus.citation, rows=rows)


def own_examples(path: Path, labels: tuple[str, ...], *, every_class: bool = True) -> list[Example]:
    """A user's CSV or JSONL with the columns ``text`` and ``label``; a label is a class name or, where no name is a number, its index.

    Rows with a blank text are left out. With ``every_class``, as for training, no class may be without a text.

    Raises:
        CorpusError: naming the file, the line, and what is expected there.
    """
    classes = {name: index for index, name in enumerate(labels)}
    if not any(re.fullmatch(r"[-+]?[\d.]+", name) for name in labels):
        classes |= {str(index): index for index in range(len(labels))}
    examples = []
    for number, row in _own_rows(path):
        text, label = row.get("text"), row.get("label")
        if text is None or label is None:
            missing = "text" if text is None else "label"
            raise CorpusError(f"{path}, line {number}: no {missing!r}; the file needs the columns text and label")
        if not str(text).strip():
            continue
        if any("\ud800" <= c <= "\udfff" for c in str(text)):
            raise CorpusError(f"{path}, line {number}: the text holds half a character (a lone surrogate)")
        if str(label).strip() not in classes:
            expected = ", ".join(classes)
            raise CorpusError(f"{path}, line {number}: unknown label {str(label)[:40]!r}; expected one of {expected}")
        examples.append(Example(str(text), classes[str(label).strip()], path.name.split(".")[0]))
    found = {example.label for example in examples}
    if every_class and len(found) < len(labels):
        absent = ", ".join(name for index, name in enumerate(labels) if index not in found)
        raise CorpusError(f"{path}: no text with the label {absent}; a classifier needs texts of every class")
    return examples


def _own_rows(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    if path.name.endswith((".jsonl", ".jsonl.gz")):
        yield from enumerate(read_rows(path), start=1)
    elif path.suffix == ".csv":
        line = 1
        try:
            with path.open(encoding="utf-8-sig", newline="") as file:
                for row in (reader := csv.DictReader(file)):
                    line = reader.line_num
                    yield line, row
        except csv.Error as error:
            raise CorpusError(f"{path}, line {line + 1}: {error}") from error
        except (OSError, UnicodeDecodeError) as error:
            raise CorpusError(f"{path}: {_reason(error)}") from error
    else:
        raise CorpusError(f"{path}: expected a .csv, .jsonl or .jsonl.gz file")


def documents(data: Path, name: str, part: str) -> Iterator[list[str]]:
    """Documents of a text corpus, each a list of lines; treebank spacing undone."""
    corpus = OPEN_TEXT[name]
    document: list[str] = []
    for line in stored_lines(data, corpus, part):
        if line:
            document.append(join_treebank(line) if corpus.treebank else line)
        if document and (corpus.single_lines or not line):
            yield document
            document = []
    if document:
        yield document


def stored_lines(data: Path, corpus: TextCorpus, part: str) -> Iterator[str]:
    """Lines of a text corpus as they are stored, stripped, up to its cap; empty lines end documents."""
    taken = 0
    for raw in read_lines(data / corpus.folder / f"{part}.txt.gz"):
        if corpus.max_lines is not None and taken >= corpus.max_lines:
            return
        line = raw.strip()
        taken += bool(line)
        yield line


_JOINS = [
    (re.compile(r"``\s*|\s*''"), '"'),
    (re.compile(r" (n't|'(?:s|re|ve|ll|d|m))\b"), r"\1"),
    (re.compile(r" ([,.!?;:)\]}%])"), r"\1"),
    (re.compile(r"([(\[{$]) "), r"\1"),
    (re.compile(r"(\w)- (\w)"), r"\1-\2"),
]


def join_treebank(line: str) -> str:
    """Ordinary spacing from Penn Treebank tokens: ``do n't , ( it 's )`` -> ``don't, (it's)``."""
    for pattern, replacement in _JOINS:
        line = pattern.sub(replacement, line)
    return line
