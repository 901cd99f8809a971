"""The pure parts of the benchmarks: figures, the report, what is counted as work."""

from __future__ import annotations

import json
import math
import platform
from pathlib import Path

import pytest
from rich.console import Console

from benchmarks.harness import machine
from benchmarks.harness.report import Report, parser
from benchmarks.harness.site import site_file
from benchmarks.harness.stats import percentile, ratio_interval, ratio_of_medians, summarize
from benchmarks.pipeline.floor import Work
from benchmarks.pipeline.overhead_runs import work_of
from colm.models.messages import Act, Step
from colm.tasks.config.settings import load


def test_a_summary_has_the_median_the_extremes_and_the_number_of_samples() -> None:
    found = summarize([4.0, 1.0, 2.0, 3.0])
    assert (found.samples, found.median, found.least, found.most) == (4, 2.5, 1.0, 4.0)


def test_few_samples_have_no_99th_percentile() -> None:
    assert summarize([1.0] * 19).p99 is None
    assert summarize([1.0] * 20).p99 == 1.0


def test_percentiles_lie_between_the_nearest_samples() -> None:
    samples = [float(n) for n in range(101)]
    assert percentile(samples, 99) == 99.0
    assert percentile(samples, 50) == 50.0
    assert percentile([7.0], 99) == 7.0


def test_no_percentile_lies_beyond_the_extremes() -> None:
    assert percentile([1.0, 2.0], 99) <= 2.0


def test_the_interval_of_a_ratio_holds_the_ratio_and_narrows_with_certainty() -> None:
    noisy = [float(n) for n in range(1, 60)]
    interval = ratio_interval(noisy, [2.0])
    assert interval.low < ratio_of_medians(noisy, [2.0]) == 15.0 < interval.high
    assert ratio_interval([6.0] * 9, [2.0] * 9) == (3.0, 3.0)


def test_the_interval_of_the_same_samples_is_the_same_in_every_run() -> None:
    samples = [1.0, 5.0, 2.0, 8.0]
    assert ratio_interval(samples, samples) == ratio_interval(samples, samples)


def _report() -> Report:
    report = Report("example", settings={"clients": 3})
    report.measured("ask to answer", [30.0, 10.0, 20.0], unit="ms")
    report.compared("ask_vs_floor", over=[20.0], under=[10.0], meaning="asks to floors")
    report.ratio("speedup", 4.2, meaning="batched to one by one")
    return report


def test_the_json_maps_each_ratio_to_a_number(tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    _report().publish(path, Console(quiet=True))
    document = json.loads(path.read_text())
    assert document["benchmark"] == "example"
    assert document["ratios"] == {"ask_vs_floor": 2.0, "speedup": 4.2}
    assert document["intervals"] == {"ask_vs_floor": [2.0, 2.0]}
    assert document["settings"] == {"clients": 3}
    assert document["results"] == [
        {
            "name": "ask to answer",
            "unit": "ms",
            "samples": 3,
            "median": 20.0,
            "p99": None,
            "least": 10.0,
            "most": 30.0,
        }
    ]


def test_a_figure_that_json_cannot_hold_is_an_error(tmp_path: Path) -> None:
    report = Report("example", settings={})
    report.ratio("broken", math.nan, meaning="nothing")
    with pytest.raises(ValueError, match="JSON"):
        report.publish(tmp_path / "report.json", Console(quiet=True))


def test_the_tables_show_figures_ratios_and_sample_sizes() -> None:
    console = Console(record=True, width=140, quiet=False, file=None)
    with console.capture() as captured:
        _report().publish(None, console)
    shown = captured.get()
    for word in ("ask to answer", "20", "3", "ask_vs_floor", "4.2", "batched to one by one"):
        assert word in shown


def test_the_machine_is_described_but_not_named() -> None:
    found = machine.describe(["pydantic", "no-such-library"])
    assert set(found) == {"cpu", "cores", "memory_gib", "load_before", "os", "python", "libraries"}
    assert set(found["libraries"]) == {"pydantic"}
    assert platform.node() not in json.dumps(found).replace(found["cpu"], "").split('"')


def test_every_benchmark_takes_quick_and_json() -> None:
    options = parser("what it measures").parse_args(["--quick", "--json", "out.json"])
    assert options.quick
    assert options.json == Path("out.json")


def _step(act: Act, participant: str, round: int = 1) -> Step:
    return Step.model_construct(act=act, participant=participant, round=round)


def test_work_counts_every_message_and_commit_and_the_longest_chain_of_them() -> None:
    names = ("ada", "bo", "cy")
    drafts = [_step("draft", name) for name in names]
    refined = [_step("refine", name) for name in names]
    whole, critical = work_of([*drafts, _step("synthesize", "main"), *refined])
    assert whole == Work(hops=15, commits=8)
    assert critical == Work(hops=7, commits=4)


def test_the_same_act_in_another_round_is_waited_for() -> None:
    _whole, critical = work_of([_step("refine", "ada", 1), _step("refine", "ada", 2)])
    assert critical == Work(hops=5, commits=3)


@pytest.mark.parametrize(("grouped", "engines"), [(False, 3), (True, 1)])
def test_the_measured_site_has_a_process_for_each_client_unless_grouped(
    tmp_path: Path, grouped: bool, engines: int
) -> None:
    (tmp_path / "colm.toml").write_text(site_file(3, grouped=grouped))
    found = load({"COLM_HOME": str(tmp_path)}, tmp_path)
    assert list(found.clients) == ["c1", "c2", "c3"]
    assert len({client.engine for client in found.clients.values()}) == engines
    assert found.servers["main"].engine.kind == "scripted"
