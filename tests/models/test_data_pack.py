"""Tests of models/data_pack.py."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from models.checkpoint import WEIGHTS_FILE, load_checkpoint
from models.corpora import CorpusError, labelled
from models.data_pack import PackError, corpora_folder, write_pack
from models.loop import Run
from models.recipe import Recipe
from models.train import train

MakeRecipe = Callable[..., Recipe]
MakeRun = Callable[..., Run]
PLENTY = 40_000_000


def full_recipe(make_recipe: MakeRecipe) -> Recipe:
    """Labelled, unlabelled and running text."""
    data = {"sentiment": ["sst2", "amazon_mds"], "unlabelled": ["imdb/unsup.jsonl.gz"], "text": ["masc", "tatoeba_en"]}
    return make_recipe(data=data)


@pytest.mark.parametrize("task", ["sentiment", "language-model"])
def test_training_from_a_pack_gives_the_weights_of_training_from_the_folder(
    make_recipe: MakeRecipe, make_run: MakeRun, corpora: Path, tmp_path: Path, task: str
) -> None:
    """The training machine needs this one file and nothing else."""
    recipe = full_recipe(make_recipe) if task == "sentiment" else make_recipe(task, data={"text": ["masc", "sgd"]})
    write_pack([recipe], corpora, tmp_path / "pack.tar.bz2", PLENTY)

    train(make_run(recipe, "folder"))
    with corpora_folder(tmp_path / "pack.tar.bz2") as folder:
        train(make_run(recipe, "pack", data=folder))

    assert (tmp_path / "pack" / WEIGHTS_FILE).read_bytes() == (tmp_path / "folder" / WEIGHTS_FILE).read_bytes()
    assert load_checkpoint(tmp_path / "pack")[0] == load_checkpoint(tmp_path / "folder")[0]


def test_a_pack_holds_what_its_recipes_read_and_no_test_text(
    make_recipe: MakeRecipe, own_corpora: Path, rows_file: Callable[..., None], tmp_path: Path
) -> None:
    """Test texts come as fingerprints; rows of a divided file that belong to its test part stay behind."""
    rows: list[dict[str, Any]] = [{"text": f"airline text number {n}", "label": 0} for n in range(100)]
    rows_file(own_corpora / "twitter_airline/all.jsonl.gz", rows)
    recipe = make_recipe(data={"sentiment": ["airline", "sst2"]}, language_model=None)
    write_pack([recipe], own_corpora, tmp_path / "pack.tar.bz2", PLENTY)

    with tarfile.open(tmp_path / "pack.tar.bz2") as archive:
        names = archive.getnames()
    assert names == ["held-out-en.txt", "sst2/dev.jsonl", "sst2/train_phrases.jsonl", "twitter_airline/all.jsonl"]
    with corpora_folder(tmp_path / "pack.tar.bz2") as folder:
        assert folder is not None
        assert labelled(own_corpora, "airline", "test")
        assert labelled(folder, "airline", "test") == []
        for part in ("train", "dev"):
            assert labelled(folder, "airline", part) == labelled(own_corpora, "airline", part)


def test_several_recipes_share_a_pack(make_recipe: MakeRecipe, corpora: Path, tmp_path: Path) -> None:
    """One file for a machine that trains all models."""
    recipes = [make_recipe(), make_recipe(language="zh"), make_recipe("language-model")]
    write_pack(recipes, corpora, tmp_path / "pack.tar.bz2", PLENTY)

    with tarfile.open(tmp_path / "pack.tar.bz2") as archive:
        names = archive.getnames()
    assert {"held-out-en.txt", "held-out-zh.txt", "waimai_10k/all.jsonl", "lm_tatoeba_en/train.txt"} < set(names)


def test_the_same_data_give_the_same_bytes(make_recipe: MakeRecipe, corpora: Path, tmp_path: Path) -> None:
    """A pack can be named by its hash."""
    for name in ("a", "b"):
        write_pack([full_recipe(make_recipe)], corpora, tmp_path / name, PLENTY)

    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_a_pack_that_would_be_too_large_is_not_left(make_recipe: MakeRecipe, corpora: Path, tmp_path: Path) -> None:
    """Nobody can use it."""
    with pytest.raises(PackError, match=r"the pack takes 0\.0 MB, more than 0\.001"):
        write_pack([make_recipe()], corpora, tmp_path / "pack.tar.bz2", 1000)

    assert not list(tmp_path.glob("pack*"))


def test_a_missing_corpus_is_named_and_nothing_is_left(make_recipe: MakeRecipe, tmp_path: Path) -> None:
    """The folder is not what it should be."""
    with pytest.raises(CorpusError, match="sst2"):
        write_pack([make_recipe()], tmp_path / "absent", tmp_path / "pack.tar.bz2", PLENTY)

    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("damage", ["rubbish", "cut"])
def test_a_damaged_pack_is_refused_with_its_name(
    make_recipe: MakeRecipe, corpora: Path, tmp_path: Path, damage: str
) -> None:
    """A download that broke off."""
    path = tmp_path / "pack.tar.bz2"
    write_pack([make_recipe()], corpora, path, PLENTY)
    path.write_bytes(b"rubbish" if damage == "rubbish" else path.read_bytes()[:-400])

    with pytest.raises(PackError, match=r"pack\.tar\.bz2: no data pack, or a damaged one"), corpora_folder(path):
        pass


def test_a_pack_cannot_write_outside_its_folder(tmp_path: Path) -> None:
    """A file from elsewhere is not trusted with paths."""
    with tarfile.open(tmp_path / "pack.tar.bz2", "w:bz2") as archive:
        member = tarfile.TarInfo("../escaped.txt")
        member.size = 1
        archive.addfile(member, io.BytesIO(b"x"))

    with pytest.raises(PackError, match=r"holds \.\./escaped\.txt"), corpora_folder(tmp_path / "pack.tar.bz2"):
        pass


def test_a_folder_stays_a_folder(corpora: Path) -> None:
    """And no data stay no data: some recipes need none."""
    with corpora_folder(corpora) as folder:
        assert folder == corpora
    with corpora_folder(None) as folder:
        assert folder is None
