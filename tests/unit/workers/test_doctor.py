"""What `colm doctor` makes of what it finds, and that every finding says what to do."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from colm.models.engine_settings import EngineSettings
from colm.models.errors import ColmError
from colm.models.messages import Deadlines
from colm.tasks.config.settings import Settings, settings
from colm.workers.cli import main
from colm.workers.doctor import broker, database, machine
from colm.workers.doctor import queues as checks_topology
from colm.workers.doctor.doctor import Scope, examine
from colm.workers.doctor.findings import Finding, problem, warning
from colm.workers.doctor.preflight import preflight, raise_if_fatal
from tests.unit.conftest import SetEnvironment
from tests.unit.engines_endpoint import Canned, completion, running_endpoint

DEADLINES = Deadlines()


def run(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(main.app, ["doctor", *arguments])
    return result.exit_code, result.output


def graded(found: Finding) -> tuple[str, str]:
    assert found.do or found.grade == "ok", found
    return found.grade, found.detail


class Connection:
    """As much of a connection as says which broker it is."""

    def __init__(self, version: str) -> None:
        self._impl: Any = type("Impl", (), {"server_properties": {"version": version}})


@pytest.mark.parametrize(
    ("version", "grade"),
    [
        ("3.10.8", "ok"), ("3.13.7", "ok"), ("4.0.5", "ok"), ("4.3.6-rc.1", "ok"),
        ("3.9.29", "problem"), ("5.0.0", "problem"), ("unknown", "problem"),
    ],
)  # fmt: skip
def test_a_broker_that_colm_is_not_made_for_is_a_problem(version: str, grade: str) -> None:
    found: Any = broker.version(Connection(version))
    assert graded(found)[0] == grade
    assert version in found.detail


@pytest.mark.parametrize(
    ("timeout", "longest", "grade"),
    [
        (1_800.0, 600.0, "ok"), (1_800.0, 1_800.0, "problem"), (60.0, 600.0, "problem"),
        (float("inf"), 90_000.0, "ok"), (None, 600.0, "ok"), (None, 2_000.0, "warning"),
    ],
)  # fmt: skip
def test_a_consumer_timeout_below_our_longest_hold_is_a_problem(
    timeout: float | None, longest: float, grade: str
) -> None:
    assert graded(broker.judge_consumer_timeout(timeout, longest))[0] == grade


def test_the_longest_hold_is_a_stage_or_the_wait_for_a_service_and_not_the_query() -> None:
    assert broker.max_ack_delay(DEADLINES) == 600
    assert broker.max_ack_delay(Deadlines(solve=3_600, query=9_000)) == 3_630


@pytest.mark.parametrize(
    ("most", "grade"),
    [(None, "ok"), (20_000, "problem"), (2**20, "warning"), (2**23 - 1, "warning")],
)
def test_a_broker_that_takes_small_messages_is_not_well(most: int | None, grade: str) -> None:
    found = broker.judge_message_size(most)
    assert graded(found)[0] == grade
    assert most is None or str(most) in found.detail


@pytest.mark.parametrize(
    ("most", "wrong"), [(-1, False), (0, True), (3, True), (4, False), (None, False)]
)
def test_a_limit_below_what_is_needed_is_a_problem_and_none_is_no_limit(
    most: int | None, wrong: bool
) -> None:
    limits = {} if most is None else {"max-connections": most}
    told = list(broker.judge_limit("user colm-ada", "max-connections", limits, 4))
    assert [graded(found)[0] for found in told] == (["problem"] if wrong else [])


@pytest.mark.parametrize(
    ("told", "seconds"),
    [("{ok,1800000}\n", 1800.0), ("undefined\n", float("inf")), ("{ok,undefined}", float("inf")),
     ("Error: unable to perform", None)],
)  # fmt: skip
def test_what_rabbitmqctl_prints_is_read(told: str, seconds: float | None) -> None:
    assert broker.read_consumer_timeout(told) == seconds


@pytest.mark.parametrize(
    ("skew", "within", "grade"),
    [(0.2, 0.0, "ok"), (-0.9, 0.0, "ok"), (3.0, 0.1, "warning"), (-3.0, 0.1, "warning"),
     (7.0, 0.1, "problem"), (-120.0, 0.5, "problem"), (1.4, 0.5, "ok")],
)  # fmt: skip
def test_clocks_are_judged_by_the_shortest_deadline(skew: float, within: float, grade: str) -> None:
    found = machine.clock("database", skew, within, DEADLINES)
    assert graded(found)[0] == grade
    assert ("ahead" if skew > 0 else "behind") in found.detail


@pytest.mark.parametrize(
    ("free", "grade"), [(10 * 2**30, "ok"), (2**30, "warning"), (10 * 2**20, "problem")]
)
def test_a_full_disk_is_a_problem(free: int, grade: str) -> None:
    assert graded(machine.room("home", Path("/data"), free))[0] == grade


@pytest.mark.parametrize(("version", "grade"), [(15, "ok"), (17, "ok"), (14, "warning")])
def test_an_old_database_is_a_warning(version: int, grade: str) -> None:
    assert graded(database.postgres_version("postgresql://h/db", version))[0] == grade


def test_models_are_looked_for_without_loading_them(tmp_path: Path) -> None:
    def look(model: str) -> str:
        engine = EngineSettings(model=model)
        return graded(machine.look_at_model("model of ada", engine, tmp_path))[0]

    (tmp_path / "empty").mkdir()
    (tmp_path / "whole").mkdir()
    (tmp_path / "whole" / "config.json").touch()
    assert look(str(tmp_path / "whole")) == "ok"
    assert look(str(tmp_path / "empty")) == "problem"
    assert look(str(tmp_path / "missing")) == "warning"
    assert look("./missing.gguf") == "warning"
    assert look("someone/a-hub-id") == "ok"
    assert look("quickstart") == "ok"


def test_an_endpoint_is_asked_which_models_it_has() -> None:
    def look(url: str, model: str) -> tuple[str, str]:
        engine = EngineSettings(kind="openai", model=model, base_url=url)
        return graded(machine.look_at_model("model of ada", engine, Path("/")))

    with running_endpoint() as endpoint:
        endpoint.models = ["qwen"]
        assert look(endpoint.url, "qwen")[0] == "ok"
        assert look(endpoint.url, "gwen") == ("problem", f"{endpoint.url} does not serve 'gwen'")
    assert look(endpoint.url, "qwen")[0] == "problem"
    assert "SECRET" not in look("http://user:SECRET@127.0.0.1:1/v1", "qwen")[1]


def test_an_endpoint_is_asked_a_question_and_what_it_does_not_take_is_told() -> None:
    def look(**settings: Any) -> Finding:
        engine = EngineSettings(kind="openai", model="qwen", retries=0, **settings)
        return machine.look_at_model("model of ada", engine, Path("/"))

    def refuses(body: dict[str, Any]) -> Canned | None:
        if "max_tokens" in body:
            return Canned(status=400, body={"error": "Unsupported parameter: max_tokens"})
        if body["messages"][0]["role"] == "system":
            return Canned(status=400, body={"error": "System role not supported"})
        taken = "seed" not in body
        return None if taken else Canned(status=422, body={"detail": "no seed is permitted"})

    with running_endpoint() as endpoint:
        endpoint.models = ["qwen"]
        endpoint.refuses = refuses
        found = look(base_url=endpoint.url)
        assert graded(found) == (
            "warning",
            f"{endpoint.url} serves qwen; it rejects max_tokens, seed, system_role",
        )
        spared = 'omit = ["seed"], max_tokens_field = "max_completion_tokens", system_role = false'
        assert found.do.endswith(spared)
        settings = {"omit": ["seed"], "system_role": False}
        spared_all = look(
            base_url=endpoint.url, max_tokens_field="max_completion_tokens", **settings
        )
        assert spared_all.grade == "ok"

        endpoint.refuses = lambda _: Canned(status=404, body={"error": "no chat here"})
        assert graded(look(base_url=endpoint.url)) == (
            "problem",
            f"{endpoint.url}: the endpoint refused the request: HTTP 404: no chat here",
        )
        endpoint.refuses = lambda _: completion("", "length")
        assert look(base_url=endpoint.url).grade == "ok"


def test_an_endpoint_that_lists_no_models_is_asked_all_the_same() -> None:
    with running_endpoint() as endpoint:
        url = f"{endpoint.url}/other"
        engine = EngineSettings(kind="openai", model="qwen", base_url=url)
        assert machine.look_at_model("model of ada", engine, Path("/")).grade == "ok"
        assert endpoint.paths == ["/v1/other/chat/completions"]


def test_models_are_loaded_when_asked_for_and_each_engine_once(
    environment: SetEnvironment, tmp_path: Path
) -> None:
    (tmp_path / "colm.toml").write_text(
        "[clients.a.engine]\nkind = 'scripted'\n[clients.b.engine]\nkind = 'scripted'\n"
        f"[servers.main.engine]\nmodel = '{tmp_path}/missing'\n"
    )
    environment()
    found = settings()
    tables = {**found.clients, **found.servers}
    first, second = machine.models(found, tables, load=True)
    assert (first.about, first.grade) == ("model of a, b", "ok")
    assert first.detail.startswith("loaded in ")
    assert (second.about, second.grade) == ("model of main", "problem")
    assert "missing" in second.detail


def test_queues_that_nobody_knows_and_bindings_of_strangers_are_told() -> None:
    found = Settings(broker="amqp://host/colm")
    queues = checks_topology.declared_queues(found)
    bindings = [
        {"source": q.exchange.name, "destination": q.name, "destination_type": "queue",
         "routing_key": q.routing_key}
        for q in queues if q.exchange.name and q.name != "colm.draft.ada"
    ] + [{"source": "colm.drafts", "destination": "spy", "destination_type": "queue",
          "routing_key": "#"}]  # fmt: skip
    there = [{"name": q.name} for q in queues] + [
        {"name": "colm.draft.gone", "messages": 3}, {"name": "colm.what"}, {"name": "other"}
    ]  # fmt: skip
    answers = {"queues": there, "bindings": bindings}
    api: Any = type("Api", (), {"vhost": "colm", "get": lambda _, what, __: answers[what]})()

    told = {f.about: (f.grade, f.do) for f in checks_topology.unexpected(api, queues)}

    assert told["queue colm.draft.gone"][0] == "warning"
    assert "colm client remove gone --queues" in told["queue colm.draft.gone"][1]
    assert told["queue colm.what"][0] == "warning"
    assert told["queue colm.draft.ada"][0] == "problem"
    assert told["queue spy"][0] == "warning"
    assert "queue other" not in told
    assert "bindings" not in told


def test_a_part_that_cannot_be_looked_at_is_a_problem_and_the_rest_goes_on(
    environment: SetEnvironment, sqlite_url: str
) -> None:
    environment(COLM_DATABASE=sqlite_url, COLM_BROKER="amqp://colm:SECRET@127.0.0.1:1/colm")

    code, out = run("--json")

    assert code == 1
    told = {f["about"]: f for f in json.loads(out)}
    assert told["broker"]["grade"] == "problem"
    assert told["migrations"]["grade"] == "ok"
    assert all(f["do"] for f in told.values() if f["grade"] != "ok")
    assert "SECRET" not in out


def test_a_database_that_lacks_migrations_is_a_problem_and_stops_a_coordinator(
    environment: SetEnvironment, empty_sqlite_url: str
) -> None:
    environment(COLM_DATABASE=empty_sqlite_url)
    Path(empty_sqlite_url.removeprefix("sqlite:///")).touch()

    (told,) = [f for f in examine(Scope()) if f.about == "migrations"]

    assert (told.grade, told.do) == ("problem", "colm migrate")
    with pytest.raises(ColmError, match=r"lacks 0001 .*colm migrate"):
        preflight(settings())


def test_what_is_not_fatal_is_logged_at_a_coordinators_start(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.WARNING):
        raise_if_fatal(
            [warning("disk", "little room", "make room"), problem("clock", "wrong", "run NTP")]
        )
    assert [r.getMessage() for r in caplog.records] == [
        "disk: little room; make room", "clock: wrong; run NTP",
    ]  # fmt: skip
    with pytest.raises(ColmError, match=r"broker: RabbitMQ 3.8.0; use"):
        raise_if_fatal([problem("broker", "RabbitMQ 3.8.0", "use RabbitMQ 3.10 to 4.x")])


def test_a_participant_is_looked_at_by_its_name(environment: SetEnvironment) -> None:
    environment(COLM_BROKER="amqp://127.0.0.1:1/colm")
    abouts = {f.about for f in examine(Scope(participant="ada"))}
    assert "model of ada" in abouts
    assert abouts.isdisjoint({"database", "migrations"})
    assert "no participant 'adda'; did you mean 'ada'?" in str(
        CliRunner().invoke(main.app, ["doctor", "--for", "adda"]).exception
    )
