"""The report says what the run says: the same numbers, escaped texts, and figures of them."""

from __future__ import annotations

import base64
import json
import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from colm.evaluation.report.markdown import tables
from colm.evaluation.report.number_format import interval, number, p_value, points
from colm.evaluation.report.plots import look
from colm.evaluation.report.report import Files, as_json, render, write
from colm.evaluation.stats.analysis import analyse, compare
from colm.evaluation.stats.run_data import RunData
from colm.evaluation.stats.statistics import Estimate, wilson
from tests.unit.evaluation_runs import ENTRIES, simulated


@pytest.fixture(scope="module")
def run() -> RunData:
    return simulated(n=40)


@pytest.fixture(scope="module")
def files(run: RunData, tmp_path_factory: pytest.TempPathFactory) -> Files:
    earlier = simulated("earlier", n=50, seed=2)
    return write(run, tmp_path_factory.mktemp("report") / "deep", before=earlier)


@pytest.fixture(scope="module")
def html(files: Files) -> str:
    return files.html.read_text(encoding="utf-8")


class Page(HTMLParser):
    """The tags of a page, and whether they nest."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in ("meta", "img"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def of(self, tag: str) -> list[dict[str, str | None]]:
        return [attrs for name, attrs in self.tags if name == tag]


def test_the_page_is_whole_and_needs_nothing_else(html: str) -> None:
    page = Page(html)

    assert page.open == []
    assert page.of("script") == page.of("link") == page.of("iframe") == []
    assert not re.search(r"(?:src|href)=\"(?!data:image/svg\+xml;base64,)", html)
    assert "url(" not in html


def test_what_models_and_data_sets_say_is_escaped(html: str) -> None:
    assert "<script" not in html
    assert "&lt;script&gt;alert(&#34;x&#34;)&lt;/script&gt; &amp; {{ 7 * 7 }}" in html


def test_everything_on_it_can_be_read_aloud(html: str) -> None:
    page = Page(html)

    assert all(len(str(image["alt"])) > 20 for image in page.of("img"))
    assert all(cell.get("scope") in ("col", "row") for cell in page.of("th"))
    assert [dict(a) for a in page.of("html")] == [{"lang": "en"}]
    assert len(page.of("h1")) == len(page.of("main")) == 1


def test_its_figures_are_valid_and_lie_beside_it_too(html: str, files: Files) -> None:
    names = {path.name for path in files.figures}
    assert names == {
        "front-tokens.png", "front-seconds.png", "front-dollars.png", "latency.png",
        "recovery.png", "flow.png", "thresholds-cope.png",
    }  # fmt: skip
    assert all(p.read_bytes().startswith(b"\x89PNG") for p in files.figures)
    for source in re.findall(r"base64,([A-Za-z0-9+/=]+)", html):
        root = ElementTree.fromstring(base64.b64decode(source))
        assert root.tag.endswith("svg")


def test_its_numbers_are_those_of_the_run(html: str, run: RunData) -> None:
    for entry in ENTRIES:
        units = [unit for unit in run.units if unit.entry == entry.name]
        right = sum(unit.correct is True for unit in units)
        found = wilson(right, 40)
        assert found is not None
        row = re.search(rf'<th scope="row">{entry.name}</th>(.*?)</tr>', html, re.S)
        assert row is not None
        assert f"<td>{right}</td><td>{interval(found)}</td>" in row[1]
        unparsed = sum(unit.status == "unparsed" for unit in units)
        assert f"</td><td>{unparsed}</td><td>0</td>" in row[1]


def test_the_head_says_what_was_run_and_that_it_is_simulated(html: str) -> None:
    head = html[html.index("<header>") : html.index("</header>")]

    assert "Simulated. No model wrote any of this" in head
    assert "240 of 250 units: 6 entries, 40 examples" in head
    assert "960 steps asked, 720 generated: 12,345 tokens were not generated again" in head
    assert "data.jsonl:7" in html


def test_the_json_says_the_same(files: Files, run: RunData) -> None:
    told = json.loads(files.json.read_text(encoding="utf-8"))
    found = analyse(run)

    assert (told["run"], told["done"], told["compared_with"]) == ("simulated", 240, "earlier")
    assert told["analysis"]["cautions"] == list(files.cautions) == []
    rows = {row["name"]: row for row in told["analysis"]["entries"]}
    assert {name: row["right"] for name, row in rows.items()} == {
        row.name: row.right for row in found.entries
    }
    assert rows["cope"]["cost"]["plan_tokens"] > 0
    assert len(told["threshold_sweeps"]["cope"]) == 32
    assert len(told["changes"]) == 6


def test_the_same_run_gives_the_same_files(run: RunData, files: Files, tmp_path: Path) -> None:
    again = write(run, tmp_path, before=simulated("earlier", n=50, seed=2))

    assert again.html.read_bytes() == files.html.read_bytes()
    assert again.json.read_bytes() == files.json.read_bytes()
    assert again.markdown.read_bytes() == files.markdown.read_bytes()


def test_the_tables_say_the_same_as_markdown(files: Files, run: RunData) -> None:
    parts = [
        [[cell.strip() for cell in line.strip("|").split("|")] for line in part.splitlines()]
        for part in files.markdown.read_text(encoding="utf-8").split("\n\n")[1:]
    ]
    entries, compared, clients, stages = parts
    found = analyse(run)

    for part in parts:
        assert len({len(row) for row in part}) == 1
    assert [row[:3] for row in entries[2:]] == [
        [row.name, f"{row.right} of {row.n}", interval(row.accuracy)] for row in found.entries
    ]
    assert [row[3] for row in compared[2:]] == [
        points(one.paired.gain) for one in found.comparisons
    ]
    assert [row[5] for row in clients[2:]] == [
        interval(row.change.recovery) for row in found.clients
    ]
    assert [(row[0], row[1]) for row in stages[2:]] == [("cope", "1"), ("cope", "2"), ("cope", "3")]


def test_a_name_stays_in_its_cell(run: RunData) -> None:
    odd = replace(
        run,
        entries=tuple(replace(entry, name=f"{entry.name}|x\ny") for entry in run.entries),
        units=tuple(replace(unit, entry=f"{unit.entry}|x\ny") for unit in run.units),
        baselines=(),
    )

    told = tables(odd, analyse(odd))

    assert "| ada\\|x y | " in told


def test_every_baseline_is_compared_with_every_other_entry_and_corrected(run: RunData) -> None:
    found = analyse(run).comparisons

    assert len(found) == 2 * 5
    assert all(one.holm_p is not None and one.paired.p is not None for one in found)
    assert all((one.holm_p or 0) >= (one.paired.p or 0) for one in found)
    assert {one.baseline for one in found} == {"server", "ada"}


def test_a_client_stands_beside_the_control(run: RunData) -> None:
    rows = {(row.entry, row.client): row for row in analyse(run).clients}

    assert set(rows) == {(e, c) for e in ("colm", "resample") for c in ("ada", "bo")}
    beside = rows["colm", "ada"].controlled
    assert beside is not None
    assert beside.control.recovered == rows["resample", "ada"].change.recovered
    assert rows["resample", "ada"].controlled is None


def test_regressions_are_right_in_the_baseline_and_not_here(run: RunData) -> None:
    found = analyse(run, limit=3)
    right = {(u.entry, u.example): u.right for u in run.units}

    assert found.regressions
    for row in found.regressions:
        assert right[row.baseline, row.example]
        assert not right[row.entry, row.example]
    pairs = [(row.entry, row.baseline) for row in found.regressions]
    assert max(pairs.count(pair) for pair in pairs) == 3
    assert {row.entry for row in found.spoiled} == {"colm"}


def test_examples_under_many_seeds_are_taken_in_clusters() -> None:
    many = analyse(simulated(n=10, seeds=4))

    assert many.clustered
    assert all("10 clusters" in r.accuracy.method for r in many.entries if r.accuracy)
    assert {one.paired.test for one in many.comparisons} == {"sign flips and t over clusters"}
    assert {one.paired.gain.clusters for one in many.comparisons} == {10}
    assert many.cautions == ()
    assert not analyse(simulated(n=10)).clustered


@pytest.mark.parametrize(("questions", "seeds"), [(1, 5), (3, 5), (5, 1)])
def test_a_run_of_few_questions_says_so_at_the_top_and_beside_each_number(
    questions: int, seeds: int
) -> None:
    run = simulated(n=questions, seeds=seeds)
    found = analyse(run)
    html, told = render(run, found, ()), as_json(run, found)
    basis = f"{questions} clusters" if seeds > 1 else f"n = {questions}"

    (caution,) = found.cautions
    assert caution.startswith("Too few questions to say: 16 of 16 accuracies and differences rest")
    assert caution in html[html.index("<header>") : html.index("</header>")]
    assert caution in tables(run, found)
    assert told["analysis"]["cautions"] == [caution]
    for part in ("How right", "Against the baselines", "What became of each client"):
        section = html[html.index(f"<h2>{part}") :]
        assert f"; {basis}, too few to say)" in section[: section.index("</table>")]
    for row in found.comparisons:
        assert row.paired.p is not None
        assert row.paired.p > 0.05
        assert row.paired.gain.low < row.paired.gain.high
    for entry in told["analysis"]["entries"]:
        assert entry["accuracy"]["clusters"] == questions
        assert entry["accuracy"]["low"] < entry["accuracy"]["high"]


def test_two_runs_are_compared_on_the_items_that_both_have() -> None:
    old, new = simulated(n=30, seed=1), simulated(n=40, seed=1, lift=0.3)

    found = compare(old, new)

    assert [one.entry for one in found] == [entry.name for entry in ENTRIES]
    assert {one.n for one in found} == {30}
    assert sum(one.paired.gain.value > 0 for one in found) >= 5
    assert compare(replace(old, units=()), new) == ()


@pytest.mark.parametrize("left_out", ["clients", "stages", "everything but one"])
def test_a_run_with_less_in_it_has_a_shorter_report(
    run: RunData, left_out: str, tmp_path: Path
) -> None:
    kept = {
        "clients": ("ada", "server", "cope"),
        "stages": ("ada", "server", "colm"),
        "everything but one": ("ada",),
    }[left_out]
    less = replace(
        run,
        entries=tuple(e for e in run.entries if e.name in kept),
        units=tuple(u for u in run.units if u.entry in kept),
        threshold_sweeps={},
        prices={},
    )

    page = write(less, tmp_path).html.read_text(encoding="utf-8")

    assert Page(page).open == []
    assert ("What became of each client" in page) is ("colm" in kept)
    assert ("how often each stage" in page) is ("cope" in kept)
    assert ("Against the baselines" in page) is (len(kept) > 1)
    assert "dollars for 1,000</th>" not in page.partition("<h2>Stages")[0]


def _estimates() -> Iterator[tuple[Estimate, str, str]]:
    yield (
        Estimate(value=0.47, low=0.375, high=0.567, n=9, clusters=9, method=""),
        "47.0% (37.5 to 56.7; n = 9)",
        ("+47.0 (+37.5 to +56.7; n = 9)"),
    )
    yield (
        Estimate(value=-0.04, low=-0.1, high=0.0, n=90, clusters=6, method=""),
        "-4.0% (-10.0 to 0.0; 6 clusters)",
        ("-4.0 (-10.0 to +0.0; 6 clusters)"),
    )
    yield (
        Estimate(value=1.0, low=0.2924, high=1.0, n=15, clusters=3, method=""),
        "100.0% (29.2 to 100.0; 3 clusters, too few to say)",
        "+100.0 (+29.2 to +100.0; 3 clusters, too few to say)",
    )


@pytest.mark.parametrize(("estimate", "as_share", "as_points"), list(_estimates()))
def test_intervals_are_written_with_both_ends(
    estimate: Estimate, as_share: str, as_points: str
) -> None:
    assert interval(estimate) == as_share
    assert points(estimate) == as_points
    assert interval(None) == points(None) == ""


def test_small_and_large_numbers_are_written_without_noise() -> None:
    values = (0, 0.00023, 0.0123, 1.234, 12.34, 1234.5, None)
    assert [number(v) for v in values] == [
        "0", "0.00023", "0.012", "1.23", "12.3", "1,234", "",
    ]  # fmt: skip
    assert [p_value(p) for p in (0.0004, 0.05, 1.0, None)] == ["< 0.001", "0.050", "1.000", ""]


def test_no_two_entries_of_64_look_alike() -> None:
    assert len({tuple(look(place).values()) for place in range(64)}) == 64
