"""Whatever a command writes to, it says what it can, and never in a traceback."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import amqp
import kombu
import pytest
import redis
import typer
from typer.testing import CliRunner

from colm.db.connection import connect
from colm.db.record.store import SqlRecord
from colm.models.errors import ColmError
from colm.workers.cli import completion, main, terminal
from colm.workers.console import print_plain
from tests.unit.conftest import SetEnvironment
from tests.unit.db_examples import NOW

ROOT = Path(__file__).parents[3]
QUESTION = "Warum ist der Himmel \u00fcber K\u00f6ln \u201eblau\u201c \u2013 \U0001f642?"

if not Path("/dev/full").exists():
    pytest.skip("there is no device that is always full", allow_module_level=True)


def run_main(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> object:
    """The whole program in this process; its exit status."""
    monkeypatch.setattr(sys, "argv", ["colm", *arguments])
    with pytest.raises(SystemExit) as ended:
        main.main()
    return ended.value.code


@pytest.fixture
def asked(environment: SetEnvironment, sqlite_url: str) -> None:
    """A record of one question that no encoding but Unicode holds."""
    environment(COLM_DATABASE=sqlite_url, COLM_BROKER="amqp://localhost:1/none")
    SqlRecord(connect(sqlite_url)).refuse("query-0001", QUESTION, "colm", "no \u2026", NOW)


@pytest.mark.usefixtures("asked")
@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "utf-16"])
@pytest.mark.parametrize(
    "arguments",
    [["queries"], ["queries", "--json"], ["show", "query"], ["show", "query", "--json"],
     ["--help"], ["show", "--help"], ["dead", "recorded"], ["audit", "verify", "--all", "--json"]],
)  # fmt: skip
def test_every_text_is_written_in_any_encoding_and_json_stays_what_it_says(
    monkeypatch: pytest.MonkeyPatch, encoding: str, arguments: list[str]
) -> None:
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, encoding=encoding))
    assert run_main(monkeypatch, *arguments) == 0
    text = written.getvalue().decode(encoding)
    assert text.strip()
    if "--json" in arguments:
        found = json.loads(text)
        if arguments[0] == "queries":
            assert found[0]["question"] == QUESTION
    elif encoding == "ascii":
        assert text.isascii()


@pytest.mark.parametrize(
    ("text", "plain"),
    [("a\u2026b", "a...b"), ("a \u2192 b \u00b7 c", "a -> b - c"), ("K\u00f6ln", "K?ln"),
     ("\u201ex\u201d", '?x"'), ("\U0001f642\ud800", "??")],
)  # fmt: skip
def test_what_an_encoding_lacks_is_written_in_another_way(text: str, plain: str) -> None:
    terminal.prepare()
    assert text.encode("ascii", "plain").decode() == plain


def test_what_no_encoding_holds_is_written_in_another_way_too() -> None:
    terminal.prepare()
    assert "K\u00f6ln \udcff".encode("utf-8", "plain").decode() == "K\u00f6ln ?"


def full_output(how: str) -> io.TextIOWrapper:
    """A stream on a disk without room."""
    device = io.FileIO(os.open("/dev/full", os.O_WRONLY), "w")
    return io.TextIOWrapper(
        io.BufferedWriter(device),
        line_buffering=how == "by line",
        write_through=how == "at once",
    )


@pytest.mark.usefixtures("asked")
@pytest.mark.parametrize("how", ["buffered", "by line", "at once"])
@pytest.mark.parametrize(
    "arguments", [["--version"], ["--help"], ["queries"], ["queries", "--json"], ["show", "query"]]
)
def test_a_full_disk_behind_standard_output_is_one_line_and_status_1(
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    arguments: list[str],
    how: str,
) -> None:
    with full_output(how) as stream:  # what could not be written does not come back at its end
        monkeypatch.setattr(sys, "stdout", stream)
        assert run_main(monkeypatch, *arguments) == 1
    told = capfd.readouterr().err
    assert told.count("\n") == 1
    assert "standard output" in told
    assert "No space left on device" in told


SHELL = "exec {python} -m colm.workers {arguments} {streams}"


@pytest.mark.parametrize(
    ("streams", "arguments", "status", "told"),
    [
        (">/dev/full", "--version", 1, "standard output"),
        (">/dev/full 2>&1", "--version", 1, ""),
        (">&-", "--version", 0, ""),
        ("<&- >&- 2>&-", "--version", 0, ""),
        ("2>&-", "init .", 1, ""),
        ("<&- 2>&-", "init", 0, "wrote colm.toml"),
    ],
)
def test_closed_and_full_streams_leave_no_traceback(
    tmp_path: Path, streams: str, arguments: str, status: int, told: str
) -> None:
    command = SHELL.format(python=sys.executable, arguments=arguments, streams=streams)
    kept = {k: v for k, v in os.environ.items() if not k.startswith("COLM_")}
    done = subprocess.run(
        ["bash", "-c", command], cwd=tmp_path, capture_output=True, text=True,
        env={**kept, "PYTHONPATH": str(ROOT), "COLM_HOME": str(tmp_path / "home")},
    )  # fmt: skip
    assert done.returncode == status, done.stderr
    assert told in done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (ColmError("say [/red] so"), "ColmError: say [/red] so\n"),
        (PermissionError(13, "Permission denied", "/x/y"),
         "PermissionError: /x/y: Permission denied\n"),
        (OSError(5, "Input/output error"),
         "OSError: standard output, or a file, cannot be written: Input/output error\n"),
        (kombu.exceptions.OperationalError("away"), "OperationalError: away\n"),
        (amqp.exceptions.NotFound("no exchange"), "NotFound: Basic.publish: (0) no exchange\n"),
        (redis.exceptions.ResponseError("MISCONF disk"), "ResponseError: MISCONF disk\n"),
        (redis.exceptions.ConnectionError(), "ConnectionError: ConnectionError()\n"),
        (RuntimeError("Could not determine home directory."),
         "ColmError: this user has no home folder: set HOME\n"),
    ],
)  # fmt: skip
def test_what_goes_wrong_outside_of_the_program_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
    error: Exception, told: str,
) -> None:  # fmt: skip
    def fail() -> None:
        raise error

    monkeypatch.setattr(main, "app", fail)
    assert run_main(monkeypatch) == 1
    found = capsys.readouterr().err
    assert found.splitlines()[-1].split(": ", 1)[0] == told.split(": ", 1)[0]
    assert found.count("\n") == 1


def test_a_fault_of_the_program_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise KeyError("a bug")

    monkeypatch.setattr(main, "app", fail)
    with pytest.raises(KeyError, match="a bug"):
        main.main()


def test_an_interrupt_is_no_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(main, "app", fail)
    assert run_main(monkeypatch) == 130


def test_the_version_is_that_of_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    assert CliRunner().invoke(main.app, ["--version"]).output == f"colm {version('colm')}\n"

    def missing(_name: str) -> str:
        raise PackageNotFoundError

    monkeypatch.setattr(main, "version", missing)
    assert CliRunner().invoke(main.app, ["--version"]).exit_code == 0


@pytest.mark.usefixtures("asked")
@pytest.mark.parametrize("columns", ["1", "20", "40", "0", "x"])
def test_help_and_tables_fit_a_terminal_of_any_width(
    monkeypatch: pytest.MonkeyPatch, columns: str
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    monkeypatch.setenv("TERM", "dumb")
    for arguments in (["--help"], ["queries"], ["show", "query"]):
        assert CliRunner().invoke(main.app, arguments).exit_code == 0


def test_json_is_written_to_what_has_no_encoding(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stdout", stream)
    print_plain({"a": "\u00f6"})
    assert json.loads(stream.getvalue()) == {"a": "\u00f6"}


@pytest.mark.usefixtures("asked")
def test_the_shell_is_offered_the_names_of_the_site() -> None:
    assert completion.queries("query") == ["query-0001"]
    assert completion.queries("another") == []
    assert completion.clients("") == ["ada", "bo", "cy"]
    assert completion.servers("m") == ["main"]
    assert completion.participants("b") == ["bo"]
    assert "colm" in completion.strategies("co")
    assert completion.statuses("ans") == ["answered"]
    assert completion.runs("") == []


@pytest.mark.parametrize("variables", [{"COLM_BROKR": "x"}, {"COLM_DATABASE": "sqlite:////no/x"}])
def test_the_shell_hears_of_no_error(
    environment: SetEnvironment, capfd: pytest.CaptureFixture[str], variables: dict[str, str]
) -> None:
    environment(**variables)
    assert completion.queries("") == completion.runs("") == []
    assert capfd.readouterr() == ("", "")


def test_every_name_of_a_query_a_run_or_a_participant_can_be_completed() -> None:
    """So that a new command does not leave it out."""
    lacking = []
    waiting = [("colm", typer.main.get_command(main.app))]
    while waiting:
        path, command = waiting.pop()
        waiting += [(f"{path} {name}", c) for name, c in getattr(command, "commands", {}).items()]
        lacking += [
            f"{path} {one.name}"
            for one in command.params
            if one.name in {"query", "run", "before", "client", "server", "participant"}
            and getattr(one, "_custom_shell_complete", None) is None
        ]
    assert lacking == []
