"""The text of the repository speaks of the product, and excuses itself where it must."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.house.repository import FLOORS, files, lines, name, python_files

#: Folders of some machine, which no other machine has.
MACHINE_PATHS = re.compile(r"(?<![\w.$}])/(?:work|root|home|Users|mnt|opt|srv)/\w")
HOSTS = re.compile(
    r"\b[a-z][a-z0-9+]*://(?:[^\s/@\"'`<>]*@)?(?P<host>[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)+)"
)
#: Whom the text may name: this machine, examples, references.
KNOWN_HOSTS = re.compile(
    r"127\.0\.0\.1|([\w-]+\.)*(example|test|invalid)(\.(com|org|net))?"
    r"|www\.apache\.org|keepachangelog\.com|semver\.org"
)
#: An exception from a check: which one, and why.
EXCUSE = re.compile(r"#\s*(?P<kind>noqa|type:\s*ignore|pragma:\s*no cover)(?P<rest>.*)")
CODES = re.compile(r"(?::\s*[A-Z]+[0-9]+(?:,\s*[A-Z]+[0-9]+)*|\[[\w-]+(?:,\s*[\w-]+)*\])")


def _texts() -> Iterator[Path]:
    """Files of text that we wrote: no pictures, no licence, not these patterns."""
    for path in files():
        if (
            path.suffix not in {".png", ".svg"}
            and path.name != "LICENSE"
            and path != Path(__file__)
        ):
            yield path


def test_no_text_names_a_folder_of_somebodys_machine() -> None:
    found = [
        where for path in _texts() for where, line in lines(path) if MACHINE_PATHS.search(line)
    ]
    assert found == []


def test_no_text_names_a_host_but_examples_and_references() -> None:
    found = [
        (where, match["host"])
        for path in _texts()
        for where, line in lines(path)
        for match in HOSTS.finditer(line)
        if not KNOWN_HOSTS.fullmatch(match["host"])
    ]
    assert found == []


def _excuses() -> Iterator[tuple[str, str, str | None, str]]:
    """Each exception from a check: where, its kind, its codes, the rest of its line."""
    for path in python_files():
        if path == Path(__file__):
            continue
        for where, line in lines(path):
            if match := EXCUSE.search(line):
                codes = CODES.match(match["rest"])
                end = codes.end() if codes else 0
                yield where, match["kind"], codes and codes[0], match["rest"][end:]


def test_every_exception_from_a_check_names_the_check() -> None:
    assert [
        where for where, kind, codes, _ in _excuses() if not codes and "pragma" not in kind
    ] == []


def test_every_exception_from_a_check_gives_its_reason() -> None:
    """On its own line, or on the line of the first of its kind in the file."""
    given: set[tuple[str, str | None]] = set()
    unexplained = []
    for where, _, codes, rest in _excuses():
        same = (where.partition(":")[0], codes)
        if re.match(r"\s*(#|-)\s*\w", rest):
            given.add(same)
        elif same not in given:
            unexplained.append(where)
    assert unexplained == []


@pytest.mark.parametrize("word", ["TODO", "FIXME", "XXX", "HACK"])
def test_nothing_is_left_for_later(word: str) -> None:
    pattern = re.compile(rf"\b{word}\b")
    code = python_files(*FLOORS, "tests", "benchmarks", "migrations")
    texts = [path for path in code if path != Path(__file__)]
    assert [where for path in texts for where, line in lines(path) if pattern.search(line)] == []


def test_every_text_ends_with_one_newline_and_no_line_with_a_blank() -> None:
    untidy = []
    for path in _texts():
        text = path.read_text()
        if text and (not text.endswith("\n") or text.endswith("\n\n")):
            untidy.append(name(path))
        untidy.extend(where for where, line in lines(path) if line != line.rstrip())
    assert untidy == []
