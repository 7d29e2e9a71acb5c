"""A data pack: what recipes read, as one small file that can be given to a machine that trains.

It holds the training and dev rows alone. Test texts, which training needs only to keep their copies out, come along as
fingerprints; those of a benchmark with a closed vocabulary come as they are, since its run measures itself. Training from
a pack and from the folder it was made of gives the same weights.
"""

from __future__ import annotations

import io
import json
import tarfile
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Literal

from models.corpora import (
    CLOSED_PARTS,
    CLOSED_TEXT,
    HELD_OUT_FILE,
    OPEN_TEXT,
    SENTIMENT,
    Language,
    TextCorpus,
    file_of,
    held_out_fingerprints,
    is_divided,
    part_of,
    read_rows,
    stored_lines,
    usable_rows,
)
from models.recipe import Recipe

FIELDS = ("text", "label", "in_sst", "in_chnsenticorp", "pair")  # what the readers look at
TRAINING_PARTS: tuple[Literal["train", "dev"], ...] = ("train", "dev")


class PackError(Exception):
    """A pack cannot be made or read; the message names the file and the reason."""


def write_pack(recipes: Sequence[Recipe], data: Path, out: Path, max_bytes: int) -> int:
    """Gather what the recipes read, whole or not at all; the same data give the same bytes.

    Args:
        recipes: what will be trained.
        data: the corpora folder.
        out: the file to write.
        max_bytes: the largest file that is of use.

    Returns:
        The size in bytes.

    Raises:
        CorpusError: a corpus is missing or damaged.
        PackError: the pack would be larger than ``max_bytes``; nothing is left then.
    """
    contents = pack_contents(recipes, data)
    partial = out.with_name(out.name + ".partial")
    try:
        # On review text bzip2 is within 3 % of xz and twenty times as fast.
        with tarfile.open(partial, "w:bz2") as archive:
            for name in sorted(contents):
                member = tarfile.TarInfo(name)
                member.size = len(contents[name])
                archive.addfile(member, io.BytesIO(contents[name]))
        size = partial.stat().st_size
        if size > max_bytes:
            raise PackError(f"the pack takes {size / 1e6:.1f} MB, more than {max_bytes / 1e6:g}: name fewer corpora")
        partial.replace(out)
    finally:
        partial.unlink(missing_ok=True)
    return size


def pack_contents(recipes: Sequence[Recipe], data: Path) -> dict[str, bytes]:
    """File name -> content, in the layout of the corpora folder, unpacked and slimmed."""
    contents: dict[str, bytes] = {}
    languages: set[Language] = set()
    for recipe in recipes:
        for name in recipe.data.sentiment:
            languages.add(recipe.language)
            contents |= _labelled_files(data, name)
        for name in (*recipe.data.text, *recipe.data.statements):
            corpus = OPEN_TEXT[name]
            contents[f"{corpus.folder}/train.txt"] = _lines(data, corpus, "train")
        if recipe.data.closed is not None:
            corpus = CLOSED_TEXT[recipe.data.closed]
            contents |= {f"{corpus.folder}/{part}.txt": _lines(data, corpus, part) for part in CLOSED_PARTS}
        for file in recipe.data.unlabelled:
            languages.add(recipe.language)
            rows = ({"text": row.get("text")} for row in read_rows(data / file))
            contents[file.removesuffix(".gz")] = _json_lines(rows)
    for language in languages:
        fingerprints = sorted(held_out_fingerprints(data, language))
        contents[HELD_OUT_FILE.format(language=language)] = "".join(f"{f}\n" for f in fingerprints).encode()
    return contents


def _labelled_files(data: Path, name: str) -> dict[str, bytes]:
    corpus = SENTIMENT[name]
    files = {file_of(corpus, part) for part in TRAINING_PARTS} - {None}
    return {
        file.removesuffix(".gz"): _json_lines(
            {key: row[key] for key in FIELDS if key in row}
            for row, _ in usable_rows(data, corpus, file)
            if not is_divided(corpus, file) or part_of(corpus, row["text"]) != "test"
        )
        for file in files
        if file is not None
    }


def _lines(data: Path, corpus: TextCorpus, part: str) -> bytes:
    return "".join(f"{line}\n" for line in stored_lines(data, corpus, part)).encode()


def _json_lines(rows: Iterator[dict[str, object]]) -> bytes:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()


@contextmanager
def corpora_folder(path: Path | None) -> Iterator[Path | None]:
    """The folder of the corpora: the one given, or a pack unpacked for as long as the context lasts.

    Raises:
        PackError: the file is no pack.
    """
    if path is None or not path.is_file():
        yield path
        return
    with tempfile.TemporaryDirectory(prefix="rnnserve-data-") as folder:
        _unpack(path, Path(folder))
        yield Path(folder)


def _unpack(pack: Path, folder: Path) -> None:
    try:
        with tarfile.open(pack, "r:bz2") as archive:
            for member in archive:
                name = PurePosixPath(member.name)
                content = archive.extractfile(member)
                if content is None or name.is_absolute() or ".." in name.parts:
                    raise PackError(f"{pack}: holds {member.name}, which no data pack does")
                target = folder / name
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(content.read())
    except (tarfile.TarError, EOFError, OSError) as error:
        raise PackError(
            f"{pack}: no data pack, or a damaged one ({error}); make one with: rnnserve data pack"
        ) from error
