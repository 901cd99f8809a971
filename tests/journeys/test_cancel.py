"""A query that is cancelled ends at once, and nothing is generated for it any more."""

from __future__ import annotations

import time

import pytest

from tests.journeys.site import Site, outcomes


@pytest.mark.alone
def test_a_cancelled_query_ends_with_its_reason_and_its_steps_stop_within_a_second(
    site: Site,
) -> None:
    site.configure("ada", "bo", delay=30, draft=60)
    site.start_all("ada", "bo")
    log = site.folder / "client-ada-bo.log"
    query = site.submit("Is it too late?", {"rounds": 1})
    site.wait_until(lambda: log.read_text().count("taken") == 2)

    site.python(
        "import json\nfrom colm.tasks import cancel\n"
        f"print(json.dumps(cancel.delay({query!r}, 'asked by mistake').get(timeout=1)))"
    )
    sent = time.monotonic()
    site.wait_until(lambda: log.read_text().count("failed: Cancelled") == 2)
    assert time.monotonic() - sent < 1

    kind, text = site.error_of(f"ask.AsyncResult({query!r}).get(timeout=10)")
    assert kind == "QueryFailed"
    assert "cancelled by" in text
    assert "asked by mistake" in text
    site.wait_until(lambda: str(site.life(query)).count("'late'") == 2)
    assert set(outcomes(site.life(query)).values()) == {"expired"}
    assert "has already ended: failed" in site.colm("cancel", query)
    assert "no query" in site.colm("cancel", "no-such-query", status=1)


@pytest.mark.transport
def test_steps_that_wait_in_a_queue_are_not_generated_once_their_query_is_cancelled(
    site: Site,
) -> None:
    site.configure("ada", draft=60)
    site.start("coordinator")
    queries = [
        site.submit(f"Question {n}?", {"strategy": "single", "participant": "ada"})
        for n in range(3)
    ]
    site.wait_until(lambda: len(site.statuses()) == 3)

    told = site.colm("cancel", queries[0][:8], "--reason", "no longer needed")
    assert "has ended: failed" in told
    assert "no longer needed" in told
    site.start("client", "ada")

    for query in queries[1:]:
        assert site.result(query)["status"] == "answered"
    if site.broker.startswith("amqp"):  # a stream keeps what was said before the client started
        site.wait_until(lambda: str(site.life(queries[0])).count("'late'") == 1)
        (late,) = [e for e in site.life(queries[0])["entries"] if "'late'" in str(e)]
        assert late["what"]["outcome"]["error"]["kind"] == "Cancelled"
