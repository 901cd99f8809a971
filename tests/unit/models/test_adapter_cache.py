"""The adapters in memory: how many, which leaves, and when one is read again."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import pytest

from colm.models.adapters import CONFIG_FILE, WEIGHTS_FILE
from colm.models.engines.native.adapter_cache import AdapterCache
from colm.models.errors import ModelUnusable


class Site:
    """Folders whose adapter is the text of their weights file."""

    def __init__(self, root: Path, limit: int) -> None:
        self.root = root
        self.read: list[str] = []
        self.evictions = 0
        self.cache = AdapterCache(self._read, limit, on_evict=self._evicted)

    def write(self, name: str, text: str) -> str:
        folder = self.root / name
        folder.mkdir(exist_ok=True)
        for file, content in ((CONFIG_FILE, "{}"), (WEIGHTS_FILE, text)):
            (folder / ".new").write_text(content)
            os.replace(folder / ".new", folder / file)
        return str(folder)

    def _read(self, folder: str) -> str:
        self.read.append(Path(folder).name)
        text = (Path(folder) / WEIGHTS_FILE).read_text()
        if text == "broken":
            raise ModelUnusable(f"{folder} is broken")
        return text

    def _evicted(self) -> None:
        self.evictions += 1


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path, limit=2)


def test_an_adapter_is_read_once(site: Site) -> None:
    a = site.write("a", "a1")
    assert [site.cache.get(a), site.cache.get(a), site.cache.peek(a)] == ["a1", "a1", "a1"]
    assert site.read == ["a"]


def test_the_least_recently_used_leaves(site: Site) -> None:
    a, b, c = (site.write(name, name) for name in "abc")
    for folder in (a, b, a, c, a, b):
        site.cache.get(folder)
    assert site.read == ["a", "b", "c", "b"]
    assert (len(site.cache), site.evictions) == (2, 2)


def test_one_in_use_never_leaves_and_a_third_waits(site: Site) -> None:
    a, b, c = (site.write(name, name) for name in "abc")
    for folder in (a, b):
        site.cache.get(folder)
    assert site.cache.get(c, ["a", "b"]) is None
    assert site.cache.get(c, ["a"]) == "c"
    assert (site.cache.peek(a), site.cache.peek(b)) == ("a", None)


def test_a_new_version_takes_a_place_of_its_own_while_the_old_is_in_use(site: Site) -> None:
    a, b = site.write("a", "a1"), site.write("b", "b")
    for folder in (a, b):
        site.cache.get(folder)
    site.write("a", "a2")
    assert site.cache.get(a, ["a1", "b"]) is None
    assert site.cache.get(a, ["a1"]) == "a2"
    assert site.cache.peek(b) is None


def test_a_version_that_cannot_be_used_leaves_the_one_before_it(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    a = site.write("a", "a1")
    site.cache.get(a)
    site.write("a", "broken")
    with caplog.at_level(logging.WARNING):
        assert [site.cache.get(a), site.cache.get(a)] == ["a1", "a1"]
    assert site.read == ["a", "a"]
    assert caplog.text.count("stays in use") == 1
    site.write("a", "a3")
    assert site.cache.get(a) == "a3"
    (Path(a) / WEIGHTS_FILE).unlink()
    assert site.cache.get(a) == "a3"


def test_without_a_version_that_can_be_used_the_reason_is_raised(site: Site) -> None:
    with pytest.raises(ModelUnusable, match="is broken"):
        site.cache.get(site.write("a", "broken"))
    assert len(site.cache) == 0


def test_files_that_change_while_they_are_read_are_read_again(tmp_path: Path) -> None:
    class Torn(Site):
        def _read(self, folder: str) -> str:
            text = super()._read(folder)
            if len(self.read) == 1:
                self.write("a", "a2")
            return text

    site = Torn(tmp_path, limit=1)
    a = site.write("a", "a1")
    assert [site.cache.get(a), site.cache.get(a), site.cache.get(a)] == ["a1", "a2", "a2"]
