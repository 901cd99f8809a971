"""The overhead benchmark runs, and says what it promises to say. Times are never asserted."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent


def test_the_overhead_benchmark_measures_asks_bursts_and_the_floor(
    rabbitmq_url: str, empty_postgres_url: str, tmp_path: Path
) -> None:
    path = tmp_path / "overhead.json"
    services = ["--broker", rabbitmq_url, "--database", empty_postgres_url]
    size = ["--asks", "3", "--bursts", "1", "--burst-size", "4"]
    run = subprocess.run(
        [
            sys.executable,
            "-m",
            "benchmarks.pipeline.overhead",
            *services,
            *size,
            "--json",
            str(path),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr

    document = json.loads(path.read_text())
    ratios = document["ratios"]
    assert set(ratios) == {"ask_vs_floor", "ask_vs_critical_floor", "burst_query_vs_floor"}
    assert all(value > 0 for value in ratios.values())
    rows = {row["name"]: row for row in document["results"]}
    assert rows["ask to answer"]["samples"] == 3
    assert rows["in bursts"]["samples"] == 1
    assert {"floor: 15 hops, 8 commits", "critical floor: 7 hops, 4 commits"} <= rows.keys()
    assert document["settings"]["client_processes"] == 3
    assert document["machine"]["fsync"] in ("on", "off")
    assert "ask_vs_floor" in run.stdout
