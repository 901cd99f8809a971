"""Every strategy on real queues: asked from a process of its own, answered by scripted engines."""

from __future__ import annotations

from collections import Counter
from typing import Any

from colm.models.messages import Answer
from colm.models.strategies import STRATEGIES
from tests.journeys.site import Site

ANSWER = """\
```python
def f():
    return 4
```
Answer: 4
"""

#: Options that make it small, and how often each act has to be asked.
JOURNEYS: dict[str, tuple[dict[str, Any], dict[str, int]]] = {
    "single": ({"kind": "numeric"}, {"draft": 1}),
    "vote": ({"n": 3, "kind": "numeric"}, {"draft": 3}),
    "resample": ({"calls": 2, "kind": "math"}, {"draft": 4}),
    "moa": ({"layers": 2}, {"draft": 4, "aggregate": 1}),
    "self-moa": ({"n": 2}, {"draft": 2, "aggregate": 1}),
    "cope": ({"n": 2, "kind": "numeric"}, {"plan": 2, "solve": 2}),
    "cascade": ({"n": 1, "comparison": ">", "t1": 1, "t2": 1}, {"draft": 5}),
    "colm": ({"rounds": 1, "synthesis": False}, {"draft": 2, "refine": 2}),
    "judge": ({"answers": ["four", "five"]}, {"judge": 2}),
}


def configure(site: Site) -> None:
    """Two clients and a server that all say the same, and a server that runs code."""
    site.configure("ada", "bo", plan=20.0, solve=20.0, aggregate=20.0, judge=20.0, check=20.0)
    config = site.folder / "colm.toml"
    text = config.read_text().replace('"client says: {last}"', repr_toml(ANSWER))
    text = text.replace('"ada, bo: look again"', '"A"')
    config.write_text(text + '\n[servers.box.engine]\nkind = "sandbox"\n')


def repr_toml(text: str) -> str:
    return '"' + text.replace("\n", "\\n") + '"'


def start(site: Site, *servers: str) -> None:
    """Start everything; a busy machine takes its time, and nobody listening would be an error."""
    site.start_all("ada", "bo")
    for server in servers:
        site.start("server", server)
    log = site.folder / "coordinator.log"
    site.wait_until(lambda: "ready." in log.read_text())


def test_every_strategy_has_its_journey() -> None:
    assert set(JOURNEYS) == set(STRATEGIES)


def test_every_strategy_answers_on_real_queues(site: Site) -> None:
    configure(site)
    start(site)
    ids = {name: site.submit("How much is 2 + 2?", {"strategy": name, **options})
           for name, (options, _) in JOURNEYS.items()}  # fmt: skip
    for name, query_id in ids.items():
        answer = Answer.model_validate(site.result(query_id))
        assert (answer.strategy, answer.status, answer.degraded) == (name, "answered", False)
        calls: Counter[str] = Counter()
        for line in answer.ledger:
            calls[line.act] += line.calls
        assert dict(calls) == JOURNEYS[name][1], name


def test_a_server_answers_on_its_queue_before_it_guides(site: Site) -> None:
    configure(site)
    start(site)
    options = {"rounds": 1, "guidance": "answer", "restate": True}

    answer = Answer.model_validate(site.ask("How much is 2 + 2?", options))

    assert (answer.status, answer.degraded) == ("answered", False)
    assert set(answer.clients) == {"ada", "bo"}
    assert {(line.participant, line.act): line.calls for line in answer.ledger} == {
        ("ada", "draft"): 1, ("bo", "draft"): 1, ("main", "draft"): 1, ("main", "synthesize"): 1,
        ("ada", "refine"): 1, ("bo", "refine"): 1,
    }  # fmt: skip


def test_code_is_run_by_a_sandbox_and_what_passes_its_tests_is_the_answer(site: Site) -> None:
    configure(site)
    start(site, "box")
    options = {"strategy": "cope", "n": 2, "confidence": "tests", "checker": "box", "kind": "code"}

    right = site.ask("Write f.", {**options, "tests": "assert f() == 4"})
    wrong = site.ask("Write f.", {**options, "tests": "assert f() == 5"})

    assert (right["detail"]["stage"], right["chosen"]) == (1, "ada")
    assert right["detail"]["stages"][0]["confidence"] == 1.0
    assert (wrong["detail"]["stage"], wrong["chosen"]) == (3, "main")
    assert wrong["detail"]["stages"][1]["confidence"] == 0.0
