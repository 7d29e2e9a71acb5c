"""Markdown made from numbers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def markdown_table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table; numbers are set to the right by their column's position, the first column to the left."""
    lines = [heads, ["--", *["--:"] * (len(heads) - 1)], *rows]
    return "".join(
        "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in line) + " |\n" for line in lines
    )
