"""What a caller is told, and what the record keeps, when something is wrong or dies."""

from __future__ import annotations

import json

import pytest

from tests.journeys.site import Site, outcomes


def test_a_caller_is_told_which_queue_has_no_consumer(site: Site) -> None:
    site.configure("ada")
    site.variables["COLM_LIMITS__NO_CONSUMER_TIMEOUT"] = "2"

    kind, text = site.error_of("ask.delay('Is anybody there?').get()")

    assert kind == "NoConsumer"
    assert "colm.ask" in text
    assert "colm coordinator" in text


def test_a_question_asked_before_any_coordinator_started_is_answered_later(site: Site) -> None:
    site.configure("ada")
    query = site.submit("Who comes first?", {"rounds": 1})

    site.start_all("ada")

    assert site.result(query)["status"] == "answered"


def test_an_unknown_client_is_refused_in_the_result_and_in_the_record(site: Site) -> None:
    site.configure("ada", "bo")
    site.start("coordinator")

    kind, text = site.error_of("ask.delay('Who?', clients=['adda']).get(timeout=30)")

    assert kind == "InvalidAsk"
    assert "did you mean 'ada'" in text
    (refused,) = json.loads(site.colm("queries", "--status", "refused", "--json"))
    assert refused["question"] == "Who?"
    assert "adda" in refused["reason"]


def test_without_a_server_the_drafts_are_the_answer_and_the_reason_is_kept(site: Site) -> None:
    site.configure("ada", "bo", synthesize=2)
    site.start("coordinator")
    site.start("client", "ada", "bo")

    answer = site.ask("What now?", {"rounds": 2})

    assert answer["status"] == "answered"
    assert answer["degraded"]
    assert any("no guidance in round 1" in note for note in answer["notes"])
    assert {c["status"] for c in answer["clients"].values()} == {"drafted"}
    assert outcomes(site.life(answer["query_id"]))["1.synthesize.main"] == "expired"


def test_a_query_that_nobody_drafts_fails_with_every_reason(site: Site) -> None:
    site.configure("ada", "bo", draft=2)
    site.start("coordinator")

    kind, text = site.error_of("ask.delay('Hello?').get(timeout=30)")

    assert kind == "QueryFailed"
    assert "ada" in text
    assert "bo" in text


def test_an_answer_outlives_every_process_that_made_it(site: Site) -> None:
    site.configure("ada")
    site.start_all("ada")
    answer = site.ask("What remains?", {"rounds": 1})

    for process in ("coordinator", "server-main", "client-ada"):
        assert site.stop(*process.split("-")) == 0

    assert site.result(answer["query_id"]) == answer


@pytest.mark.transport
def test_a_killed_coordinator_loses_no_query_and_doubles_no_step(site: Site) -> None:
    site.configure("ada", "bo", delay=2)
    site.start_all("ada", "bo")
    queries = [site.submit(f"Question {n}?", {"rounds": 1}) for n in range(4)]

    site.kill("coordinator")
    site.start("coordinator")

    for query in queries:
        assert site.result(query)["status"] == "answered"
        assert set(outcomes(site.life(query)).values()) == {"completed"}


@pytest.mark.transport
def test_a_client_killed_in_mid_draft_drafts_again_after_its_restart(site: Site) -> None:
    site.configure("ada", delay=3, draft=60)
    site.start_all("ada")
    query = site.submit("Again?", {"rounds": 1})
    site.wait_until(lambda: "taken" in (site.folder / "client-ada.log").read_text())

    site.kill("client", "ada")
    site.start("client", "ada")

    answer = site.result(query, timeout=80)
    assert answer["clients"]["ada"]["status"] == "refined"
    assert not answer["degraded"]


def test_a_submission_for_a_step_that_was_never_asked_is_recorded_as_a_dead_letter(
    site: Site,
) -> None:
    site.configure("ada")
    site.start("coordinator")

    site.python(
        "import json\n"
        "from colm.models.messages import StepError, Submission\n"
        "from colm.tasks.broker.publish import send_submission\n"
        "from colm.tasks import ask\n"
        "ask.delay('real', clients=['ada'])\n"  # makes the topology exist
        "import time; time.sleep(3)\n"
        "error = StepError(kind='x', reason='y')\n"
        "one = Submission(query_id='no-such-query', round=1, act='draft', participant='ada',"
        " worker='w', error=error)\n"
        "send_submission(one, routing_key='draft.ada')\n"
        "send_submission(one.model_copy(update={'participant': 'bo'}), routing_key='draft.ada')\n"
        "print(json.dumps(None))"
    )

    site.wait_until(lambda: len(json.loads(site.colm("dead", "recorded", "--json"))) == 2)
    reasons = {letter["reason"] for letter in json.loads(site.colm("dead", "recorded", "--json"))}
    assert any("no-such-query" in reason for reason in reasons)
    assert any("'bo' may not submit under 'draft.ada'" in reason for reason in reasons)
