"""An evaluation on images: one that is missing or broken fails its example alone."""

from __future__ import annotations

import json
from typing import Any

from colm.db.connection import connect
from colm.db.runs.units import units_of
from tests.journeys.site import Site
from tests.unit.engines_seeing import picture

FAULTS = [("missing.png", "cannot be read")] * 2 + [("short.png", "is damaged or truncated")] * 2
CONFIG = """
[data]
source = "signs.jsonl"
images = "signs"
[[entries]]
name = "vote"
strategy = "vote"
options = { n = 3 }
[[entries]]
name = "colm"
options = { rounds = 1 }
"""


def write_signs(site: Site) -> None:
    folder = site.folder / "signs"
    folder.mkdir()
    (folder / "whole.png").write_bytes(picture(3))
    (folder / "other.png").write_bytes(picture(4))
    (folder / "short.png").write_bytes(picture(3)[: len(picture(3)) // 2])
    rows = [
        {"question": "What colour?", "answer": "red", "kind": "vqa", "images": f"{name}.png"}
        for name in ("whole", "other", "short", "missing")
    ]
    (site.folder / "signs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (site.folder / "night.toml").write_text(CONFIG)


def test_an_image_that_cannot_be_had_is_its_example_s_failure(site: Site) -> None:
    site.configure("ada", "bo")
    config = site.folder / "colm.toml"
    text = config.read_text().replace("\npersona", "\nsees = true\npersona")
    config.write_text(text.replace("client says: {last}", "The red."))
    site.start_all("ada", "bo")
    site.start("evaluator")
    write_signs(site)
    site.wait_until(lambda: "ready." in (site.folder / "coordinator.log").read_text())
    site.colm("evaluate", "night.toml", "--name", "night", "--no-follow")

    def shown() -> Any:
        return json.loads(site.colm("run", "show", "night", "--json"))

    site.wait_until(lambda: shown()["state"] == "done")

    entries = {entry["entry"]: entry for entry in shown()["progress"]["entries"]}
    assert {n: (e["done"], e["correct"], e["failed"]) for n, e in entries.items()} == {
        "vote": (4, 2, 2),
        "colm": (4, 2, 2),
    }
    assert json.loads(site.colm("report", "night", "--json"))["run"] == "night"
    engine = connect(site.database)
    reasons = sorted(unit.reason or "" for unit in units_of(engine, "night") if not unit.seconds)
    engine.dispose()
    assert len(reasons) == 4
    for reason, (name, fault) in zip(reasons, FAULTS, strict=True):
        assert reason.startswith(f"image '{site.folder / 'signs' / name}' {fault}")
