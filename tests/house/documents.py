"""The documents as the house tests read them: files, tables, code blocks, links."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from tests.house.repository import ROOT, files, name

#: The cells of a table's row, stripped.
Row = tuple[str, ...]

FENCE = re.compile(r"^```(?P<language>\w*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)


def documents() -> Iterator[Path]:
    """Every Markdown file of the repository."""
    yield from (path for path in files() if path.suffix == ".md")


def snippets(language: str, *paths: Path) -> Iterator[tuple[str, str]]:
    """Where and what each code block in `language` is, in `paths` or in all documents."""
    for path in paths or documents():
        text = path.read_text()
        for found in FENCE.finditer(text):
            if found["language"] == language:
                line = text.count("\n", 0, found.start()) + 1
                yield f"{name(path)}:{line}", found["text"]


def prose(path: Path) -> str:
    """A document without its code blocks."""
    return FENCE.sub("", path.read_text())


def rows(text: str, *header: str) -> Iterator[Row]:
    """The rows of every table in `text` whose header begins with these cells."""
    within = False
    for line in text.splitlines():
        cells = _cells(line)
        if cells[: len(header)] == header:
            within = True
        elif not cells:
            within = False
        elif within and not set("".join(cells)) <= set("-: "):
            yield cells


def _cells(line: str) -> Row:
    if not line.startswith("|"):
        return ()
    return tuple(cell.strip() for cell in line.strip("|").split("|"))


def anchors(path: Path) -> set[str]:
    """What a link into the document may point to, as GitHub names headings."""
    headings = re.findall(r"^#+ (.+)$", prose(path), re.MULTILINE)
    plain = [re.sub(r"[^\w\- ]", "", heading.lower()) for heading in headings]
    return {heading.replace(" ", "-") for heading in plain}


def links(path: Path) -> Iterator[tuple[str, Path, str]]:
    """Each relative link or picture: its text, the file that it names, the anchor in it."""
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(path)):
        if "://" not in target:
            file, _, anchor = target.partition("#")
            yield target, (path.parent / file).resolve() if file else path, anchor


__all__ = ["ROOT", "Row", "anchors", "documents", "links", "prose", "rows", "snippets"]
