"""Tests of models/corpora.py."""

from __future__ import annotations

import csv
import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from models.corpora import (
    OPEN_TEXT,
    SENTIMENT,
    CorpusError,
    Part,
    documents,
    fingerprint,
    held_out_fingerprints,
    join_treebank,
    labelled,
    labelled_rows,
    neutral_texts,
    own_examples,
    read_lines,
    running_text,
    training_examples,
    unlabelled_texts,
)

LABELS = ("negative", "positive")
LONG = "a sentence that is long enough to be no common phrase"
Write = Callable[[Path, list[Any]], None]


def row(text: str, label: int | None = 1, **fields: Any) -> dict[str, Any]:
    return {"text": text, "label": label, "in_sst": None, "in_chnsenticorp": None} | fields


# -- leaks -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("part", ["dev", "test"])
def test_a_held_out_text_never_trains_even_as_a_copy_in_another_corpus(
    own_corpora: Path, rows_file: Write, part: str
) -> None:
    """A review in a training file that any dev or test file holds is left out, whatever its case and punctuation."""
    rows_file(own_corpora / f"sst2/{part}.jsonl.gz", [row(LONG)])
    rows_file(own_corpora / "cad_imdb/train.jsonl.gz", [row(f"  {LONG.upper()}!!"), row("another text"), row("bad", 0)])

    examples, used = training_examples(own_corpora, ["cad_imdb"])

    assert [e.text for e in examples] == ["another text", "bad"]
    assert used[0].rows == 2


def test_the_counterpart_of_a_held_out_text_does_not_train_either(own_corpora: Path, rows_file: Write) -> None:
    """A review rewritten to the other label is the review, but for a few words."""
    rows_file(own_corpora / "imdb/test.jsonl.gz", [row(LONG)])
    rows = [
        row(LONG, pair=1),
        row("turned round", 0, pair=1),
        row("another", pair=2),
        row("its counterpart", 0, pair=2),
    ]
    rows_file(own_corpora / "cad_imdb/train.jsonl.gz", rows)

    examples, used = training_examples(own_corpora, ["cad_imdb"])

    assert [e.text for e in examples] == ["another", "its counterpart"]
    assert used[0].rows == 2


def test_common_phrases_may_stand_in_training_and_test(own_corpora: Path, rows_file: Write) -> None:
    """The phrase "good movie" is a test sentence of SST-2 and a phrase anybody writes: it does not count as a leak."""
    rows_file(own_corpora / "sst2/test.jsonl.gz", [row("good movie")])
    rows_file(own_corpora / "sst2/train_phrases.jsonl.gz", [row("good movie")])

    assert [e.text for e in training_examples(own_corpora, ["sst2"])[0]] == ["good movie"]


def test_unlabelled_text_loses_held_out_texts_too(own_corpora: Path, rows_file: Write) -> None:
    """The language-model stage must not read the test reviews that stand in the unlabelled part."""
    rows_file(own_corpora / "imdb/test.jsonl.gz", [row(LONG)])
    rows_file(own_corpora / "imdb/unsup.jsonl.gz", [row(LONG), row("a text of its own")])

    assert unlabelled_texts(own_corpora, "imdb/unsup.jsonl.gz", "en") == ["a text of its own"]


@pytest.mark.parametrize(("where", "kept"), [("train", True), ("dev", False), ("test", False), (None, True)])
def test_online_shopping_drops_the_rows_of_chnsenticorps_dev_and_test(
    own_corpora: Path, rows_file: Write, where: str | None, kept: bool
) -> None:
    """The set holds nearly the whole ChnSentiCorp test: rows so marked are in none of its parts."""
    texts = [f"酒店服务第{n}号" for n in range(40)]
    rows_file(own_corpora / "online_shopping_10_cats/all.jsonl.gz", [row(t, in_chnsenticorp=where) for t in texts])
    parts: tuple[Part, ...] = ("train", "dev", "test")

    found = [e.text for part in parts for e in labelled(own_corpora, "online_shopping", part)]

    assert sorted(found) == (sorted(texts) if kept else [])


def test_mr_is_measured_outside_sst_only(own_corpora: Path, rows_file: Write) -> None:
    """MR sentences that are SST sentences are no fair test."""
    rows_file(own_corpora / "mr_rt_polarity/all.jsonl.gz", [row("a", in_sst="train"), row("b")])

    assert [e.text for e in labelled(own_corpora, "mr", "test")] == ["b"]
    assert labelled(own_corpora, "mr", "train") == []


def test_neutral_is_not_taken_for_positive(own_corpora: Path, rows_file: Write) -> None:
    """Three-way sets code 1 as neutral and 2 as positive."""
    rows_file(own_corpora / "semeval2017_4a/train.jsonl.gz", [row("no", 0), row("so-so", 1), row("yes", 2)])

    assert [(e.text, e.label) for e in labelled(own_corpora, "semeval", "train")] == [("no", 0), ("yes", 1)]
    assert list(neutral_texts(own_corpora, "semeval", "train")) == ["so-so"]


def test_reviews_of_three_stars_are_neutral_and_divided_as_the_others_are(own_corpora: Path, rows_file: Write) -> None:
    """Null is no class; a corpus without such rows has none."""
    rows_file(own_corpora / "douban_short/test.jsonl.gz", [row("差", 0), row("还行", None), row("好", 1)])
    rows_file(own_corpora / "twitter_airline/all.jsonl.gz", [row(f"text {n}", 1) for n in range(400)])

    assert list(neutral_texts(own_corpora, "douban", "test")) == ["还行"]
    assert list(neutral_texts(own_corpora, "chnsenticorp", "test")) == []
    parts = [set(neutral_texts(own_corpora, "airline", part)) for part in ("train", "dev", "test")]
    assert sum(map(len, parts)) == len(set().union(*parts)) == 400
    assert 15 <= len(parts[2]) <= 70


@pytest.mark.parametrize("name", [name for name, corpus in SENTIMENT.items() if "all" in corpus.files])
def test_parts_made_by_hash_are_disjoint_and_lose_nothing(own_corpora: Path, rows_file: Write, name: str) -> None:
    """Train, dev and test of a set without official parts divide it; the division never changes."""
    corpus = SENTIMENT[name]
    label = next(code for code in corpus.labels if code is not None)
    rows_file(own_corpora / corpus.files["all"], [row(f"text {n}", label) for n in range(400)])
    own = corpus.files.keys() - {"all"}  # parts with files of their own

    train, dev, test = ({e.text for e in labelled(own_corpora, name, part)} for part in ("train", "dev", "test"))
    divided = {part: texts for part, texts in (("train", train), ("dev", dev), ("test", test)) if part not in own}

    assert sum(map(len, divided.values())) == len(set().union(*divided.values())) == 400
    assert 2 <= len(dev) <= 30
    assert own or 8 <= len(test) <= 70


def test_a_text_falls_into_the_same_part_on_every_machine(own_corpora: Path, rows_file: Write) -> None:
    """The division follows from the text alone; these four were noted once."""
    rows_file(own_corpora / "waimai_10k/all.jsonl.gz", [row(f"text {n}") for n in range(60)])

    assert [e.text for e in labelled(own_corpora, "waimai", "test")] == ["text 35", "text 43"]
    assert [e.text for e in labelled(own_corpora, "waimai", "dev")] == ["text 40", "text 47"]


def test_rows_keep_their_further_fields(own_corpora: Path, rows_file: Write) -> None:
    """The evaluation needs ``in_train`` and the like."""
    rows_file(own_corpora / "chnsenticorp/test.jsonl.gz", [row("很好", in_train=True)])

    assert next(labelled_rows(own_corpora, "chnsenticorp", "test"))[0]["in_train"] is True


def test_fingerprints_ignore_case_width_and_punctuation() -> None:
    """What the corpora's makers changed does not hide a copy; another word does make another text."""
    assert fingerprint("It's GOOD, really!") == fingerprint("it s ｇｏｏｄ really")
    assert fingerprint("good") != fingerprint("goods")


def test_every_corpus_is_held_out_in_its_own_language(corpora: Path) -> None:
    """English training is checked against every English dev and test file, not against the Chinese ones."""
    english, chinese = held_out_fingerprints(corpora, "en"), held_out_fingerprints(corpora, "zh")

    assert english
    assert chinese
    assert not english & chinese
    for name, corpus in SENTIMENT.items():
        held = english if corpus.language == "en" else chinese
        assert all(fingerprint(e.text) in held for part in ("dev", "test") for e in labelled(corpora, name, part))


# -- damaged files -----------------------------------------------------------------------------------------------------


def test_a_missing_corpus_is_named(tmp_path: Path) -> None:
    """The error says which file, as the user has to get it."""
    with pytest.raises(CorpusError, match=r"sst2/train_phrases\.jsonl\.gz: No such file"):
        labelled(tmp_path, "sst2", "train")


def test_a_truncated_archive_is_named(own_corpora: Path) -> None:
    """A download that broke off is an error, not a smaller corpus."""
    path = own_corpora / "sst2/dev.jsonl.gz"
    path.write_bytes(path.read_bytes()[:-20])

    with pytest.raises(CorpusError, match=r"sst2/dev\.jsonl\.gz: "):
        labelled(own_corpora, "sst2", "dev")


@pytest.mark.parametrize(
    "broken", ["{", "[1]", '{"label": 1}', '{"text": "a"}', '{"text": 5, "label": 1}', '{"text": "a", "label": [1]}']
)
def test_a_broken_row_is_named_by_file_and_line(own_corpora: Path, broken: str) -> None:
    """Whatever is wrong with a row, the message leads to it."""
    path = own_corpora / "sst2/dev.jsonl.gz"
    with gzip.open(path, "wt") as file:
        file.write(json.dumps(row("fine")) + "\n" + broken + "\n")

    with pytest.raises(CorpusError, match=r"sst2/dev\.jsonl\.gz, line 2: "):
        labelled(own_corpora, "sst2", "dev")


def test_lines_end_at_newlines_alone(tmp_path: Path) -> None:
    """Texts hold exotic separators, which ``str.splitlines`` would cut at."""
    path = tmp_path / "lines.txt"
    path.write_bytes("a\u2028b\x0bc\u0085d\r\ne\n".encode())

    assert list(read_lines(path)) == ["a\u2028b\x0bc\u0085d", "e"]


def test_an_unpacked_file_stands_in_for_a_gzipped_one(tmp_path: Path) -> None:
    """Whoever unpacked the corpora need not pack them again."""
    (tmp_path / "x.txt").write_text("a\n")

    assert list(read_lines(tmp_path / "x.txt.gz")) == ["a"]


# -- running text ------------------------------------------------------------------------------------------------------


def test_documents_end_at_empty_lines_where_the_corpus_has_them(corpora: Path) -> None:
    """A dialogue is one document of several lines."""
    found = list(documents(corpora, "self_dialogue", "train"))

    assert [len(lines) for lines in found] == [6] * 8


def test_single_sentences_are_documents_of_their_own(corpora: Path) -> None:
    """Tatoeba's neighbours have nothing to do with each other."""
    assert all(len(lines) == 1 for lines in documents(corpora, "tatoeba_en", "train"))


def test_a_capped_corpus_stops_at_its_cap(own_corpora: Path) -> None:
    """Repetitive task dialogues are cut by lines; the use says how many were taken."""
    cap = OPEN_TEXT["sgd"].max_lines
    assert cap is not None
    with gzip.open(own_corpora / "lm_sgd_dialogues/train.txt.gz", "wt") as file:
        file.writelines(f"line {n}\n" for n in range(cap + 10))

    texts, used = running_text(own_corpora, "sgd")

    assert used.rows == cap
    assert texts[-1].endswith(f"line {cap - 1}")


def test_the_use_of_a_corpus_names_its_licence(corpora: Path) -> None:
    """Model cards are made from it."""
    _, used = running_text(corpora, "commonvoice_en")

    assert (used.name, used.licence, used.source, used.rows) == ("commonvoice_en", "CC0", "mozilla/voice-web", 48)


@pytest.mark.parametrize(
    ("tokens", "text"),
    [
        ("I do n't know , it 's ( really ) good .", "I don't know, it's (really) good."),
        ("`` Hello '' , he said", '"Hello", he said'),
        ("$ 5 was 20 % off !", "$5 was 20% off!"),
        ("plain text stays", "plain text stays"),
    ],
)
def test_treebank_tokens_are_joined_as_people_write(tokens: str, text: str) -> None:
    """One tokenizer fits all corpora only if they share their spacing."""
    assert join_treebank(tokens) == text


# -- a user's own file -------------------------------------------------------------------------------------------------


def own_csv(path: Path, rows: list[list[str]], header: tuple[str, ...] = ("text", "label")) -> Path:
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([header, *rows])
    return path


def test_a_csv_may_give_labels_by_name_or_number(tmp_path: Path) -> None:
    """Both ways in one file, quotes and line breaks inside texts, further columns ignored."""
    rows = [['He said "no",\nand left', "negative", "x"], ["很好，喜欢", "1", "y"], ["meh", " 0 ", "z"]]
    path = own_csv(tmp_path / "mine.csv", rows, ("text", "label", "id"))

    found = own_examples(path, LABELS)

    assert [(e.text, e.label, e.source) for e in found] == [
        ('He said "no",\nand left', 0, "mine"),
        ("很好，喜欢", 1, "mine"),
        ("meh", 0, "mine"),
    ]


def test_a_csv_from_a_spreadsheet_may_begin_with_a_byte_order_mark(tmp_path: Path) -> None:
    """Excel writes one; it is no part of the first column's name."""
    path = tmp_path / "mine.csv"
    path.write_bytes(b"\xef\xbb\xbf" + b"text,label\ngood,1\nbad,0\n")

    assert len(own_examples(path, LABELS)) == 2


@pytest.mark.parametrize("suffix", [".jsonl", ".jsonl.gz"])
def test_json_lines_work_the_same(tmp_path: Path, rows_file: Write, suffix: str) -> None:
    """Gzipped or plain; labels as numbers or names."""
    path = tmp_path / f"mine{suffix}"
    rows = [{"text": "good", "label": 1}, {"text": "bad", "label": "negative"}]
    if suffix.endswith("gz"):
        rows_file(path, rows)
    else:
        path.write_text("".join(json.dumps(r) + "\n" for r in rows))

    assert [(e.text, e.label, e.source) for e in own_examples(path, LABELS)] == [
        ("good", 1, "mine"),
        ("bad", 0, "mine"),
    ]


@pytest.mark.parametrize("labels", [("1", "0"), ("3", "2", "1"), ("1", "2", "3", "4", "5"), ("-1", "0", "1")])
def test_classes_that_are_numbers_keep_their_names(tmp_path: Path, labels: tuple[str, ...]) -> None:
    """Stars are no indices, however they are ordered."""
    path = own_csv(tmp_path / "stars.csv", [[f"text {label}", label] for label in labels])

    assert [labels[e.label] for e in own_examples(path, labels)] == list(labels)


def test_a_file_to_measure_with_may_lack_a_class(tmp_path: Path) -> None:
    """Only training needs texts of every class."""
    path = own_csv(tmp_path / "complaints.csv", [["a", "negative"]])

    assert [e.label for e in own_examples(path, LABELS, every_class=False)] == [0]


def test_any_number_of_classes_works(tmp_path: Path) -> None:
    """The recipe names the classes; their order is the code."""
    path = own_csv(tmp_path / "mine.csv", [["a", "so-so"], ["b", "2"], ["c", "bad"]])

    assert [e.label for e in own_examples(path, ("bad", "so-so", "good"))] == [1, 2, 0]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("sentence,label\ngood,1\n", "line 2: no 'text'; the file needs the columns text and label"),
        ("text,label\ngood\n", "line 2: no 'label'"),
        (
            "text,label\ngood,1\nbad,0\nwell,perhaps\n",
            "line 4: unknown label 'perhaps'; expected one of negative, positive, 0, 1",
        ),
        ("", "no text with the label negative, positive"),
        ("text,label\n", "no text with the label negative, positive"),
        ("text,label\ngood,1\n  ,0\n", "no text with the label negative;"),
        ("text,label\ngood,1\n" + "x" * 200_000 + ",0\n", "line 3: field larger than field limit"),
    ],
)
def test_a_wrong_csv_is_refused_with_file_and_line(tmp_path: Path, content: str, message: str) -> None:
    """The user reads what to change, and where."""
    path = tmp_path / "mine.csv"
    path.write_text(content)

    with pytest.raises(CorpusError) as raised:
        own_examples(path, LABELS)

    assert str(raised.value).startswith(str(path))
    assert message in str(raised.value)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("mine.txt", b"", "expected a .csv, .jsonl or .jsonl.gz file"),
        ("mine.csv", b"text,label\n\xff\xfe,1\n", "codec can't decode"),
        ("mine.jsonl", b'{"text": "a", "label": 1}\nnot json\n', "line 2: not JSON"),
        ("mine.jsonl", b'{"text": "\\ud83d", "label": 1}\n', "line 1: the text holds half a character"),
        ("mine.jsonl.gz", b"no gzip", "Not a gzipped file"),
    ],
)
def test_a_wrong_file_is_refused(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    """Neither a traceback nor a model trained on rubbish."""
    path = tmp_path / name
    path.write_bytes(content)

    with pytest.raises(CorpusError, match=message):
        own_examples(path, LABELS)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    """Not there at all."""
    with pytest.raises(CorpusError, match=r"absent\.csv: No such file"):
        own_examples(tmp_path / "absent.csv", LABELS)
