"""Names made of other names keep to their limits, and differ where what they are made of does."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from colm.evaluation.experiments.catalogue import Site, plan_of
from colm.models.messages import MAX_WORKER_CHARS, Name
from colm.models.naming import (
    MAX_JOINED_BYTES,
    MAX_PROCESS_BYTES,
    join_groups,
    join_names,
    list_names,
    worker_name,
)
from colm.models.roster import make_request
from colm.tasks.config.settings import ParticipantSettings, Settings
from colm.workers.local_stack.stack import commands

#: What Celery makes a queue's name with, and a rotation a log file's (bytes of 255).
QUEUE_SUFFIX, LOG_SUFFIX = ".celery.pidbox", ".log.2026-01-01_00-00-00"
NAMES = st.lists(st.from_regex(r"[a-z0-9][a-z0-9_-]{0,39}", fullmatch=True), min_size=1)
HOSTS = ["h", "h" * 64, "h" * 255, "\u00fc" * 200, ""]


def students(count: int, length: int = 10) -> list[str]:
    return [f"student-{number:02}".ljust(length, "x") for number in range(count)]


@pytest.mark.parametrize(
    ("parts", "name"),
    [
        (["client", "ada"], "client-ada"),
        (["client", "ada", "bo", "cy"], "client-ada-bo-cy"),
        (["client", *students(30)],
         "client-student-00-student-01-student-02-student-03-and-26-more-9b1dda0e"),
        (["client", *students(1000, 40)],
         "client-student-00xxxxxxxxxxxxxxxxxxxxxxxxxxxxxx-and-999-more-3d0c4a1f"),
    ],
)  # fmt: skip
def test_names_are_joined_and_beyond_the_limit_counted(parts: list[str], name: str) -> None:
    assert re.sub("[0-9a-f]{8}$", "", join_names(parts)) == re.sub("[0-9a-f]{8}$", "", name)


@given(NAMES, st.sampled_from(HOSTS), st.integers(1, 2**22))
def test_a_workers_name_fits_whatever_is_sent_or_declared_with_it(
    names: list[str], host: str, pid: int
) -> None:
    worker = worker_name(join_names(["client", *names]) + "-cuda15", pid, host)
    assert len(worker) <= MAX_WORKER_CHARS
    assert len((worker + QUEUE_SUFFIX).encode()) <= 255
    assert worker.split("@", 1)[0].endswith(f".{pid}")


@given(st.lists(NAMES, min_size=1, max_size=4, unique_by=tuple))
def test_groups_have_names_of_their_own_that_fit_a_file(groups: list[list[str]]) -> None:
    names = join_groups(groups)
    assert len(set(names)) == len(groups)
    assert all(len((name + LOG_SUFFIX).encode()) <= 255 for name in names)
    assert all(len(name.encode()) <= MAX_PROCESS_BYTES for name in names)


def test_the_same_clients_have_the_same_name_and_others_another() -> None:
    many = students(30)
    assert join_names(many) == join_names(list(many))
    assert join_names(many) != join_names([*many[:-1], "student-99"])
    assert len(join_names(many).encode()) <= MAX_JOINED_BYTES


def test_many_names_are_listed_as_the_first_ones_and_a_count() -> None:
    assert list_names(students(2)) == "student-00, student-01"
    assert list_names(students(300), limit=2) == "student-00, student-01 and 298 more"


def test_a_question_may_name_every_client_of_a_large_site() -> None:
    assert len(make_request("Why?", {"clients": students(300)}).clients or ()) == 300


def test_two_groups_that_join_to_one_name_are_told_apart() -> None:
    one, other, third = join_groups([["a-b", "c"], ["a", "b-c"], ["d"]])
    assert one != other
    assert one.startswith("a-b-c-")
    assert third == "d"


@pytest.mark.parametrize("count", [1, 19, 23, 300, 1000])
def test_any_number_of_clients_has_processes_whose_logs_have_names(count: int) -> None:
    table = {name: ParticipantSettings() for name in students(count, 40)}
    for name, arguments in commands(Settings(clients=table)):
        assert len((name + LOG_SUFFIX).encode()) <= 255
        assert len(arguments) >= 1


def test_an_experiments_entries_are_names_whatever_its_participants_are_called() -> None:
    clients = dict.fromkeys(students(4, 40), "small") | {"other": "another"}
    servers = {"s" * 40: "large", "t" * 40: "larger"}
    site = Site(clients=clients, servers=servers)
    for experiment in ("weak-server", "same-or-different"):
        names = [point.entry["name"] for point in plan_of(experiment, site)]
        assert len(set(names)) == len(names)
        for name in names:
            TypeAdapter(Name).validate_python(name)
