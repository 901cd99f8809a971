"""The `colm` command: helpful in every command, and one line for every mistake."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from colm.workers.cli import ask, main
from colm.workers.cli.config_template import TEMPLATE
from tests.unit.conftest import SetEnvironment

ROOT = Path(__file__).parents[3]
COMMANDS = [
    "ask", "audit", "cancel", "client", "coordinator", "dead", "demo", "doctor", "erase",
    "evaluate", "evaluator", "experiment", "flower", "images", "init", "migrate", "purge",
    "queries", "reliability", "replay", "report", "run", "server", "show", "tune", "up",
]  # fmt: skip
GROUP: Any = typer.main.get_command(main.app)


def run(*arguments: str, given: str | None = None) -> tuple[int, str]:
    result = CliRunner().invoke(main.app, arguments, input=given)
    return result.exit_code, result.output


def fails(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *arguments: str
) -> str:
    """What the command says on standard error, as the whole program; it exits with 1."""
    monkeypatch.setattr(sys, "argv", ["colm", *arguments])
    with pytest.raises(SystemExit) as exited:
        main.main()
    assert exited.value.code == 1
    return capsys.readouterr().err


def test_the_commands_are_these() -> None:
    assert sorted(GROUP.commands) == COMMANDS


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_says_what_it_does(command: str) -> None:
    code, out = run(command, "--help")
    assert code == 0
    assert f"colm {command}" in out
    assert str(GROUP.commands[command].help).rstrip(".") in " ".join(out.split())


def test_without_a_command_the_help_is_shown() -> None:
    code, out = run()
    assert code == 2
    for command in COMMANDS:
        assert command in out


def test_help_loads_no_engine_and_no_database() -> None:
    program = (
        "import sys; sys.argv = ['colm', '--help']\n"
        "from colm.workers.cli.main import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "print([m for m in ('torch', 'transformers', 'sqlalchemy', 'celery') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == "[]"


def test_init_writes_the_template_and_overwrites_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "site.toml"
    assert run("init", str(path)) == (0, f"wrote {path}\n")
    assert path.read_text() == TEMPLATE
    path.write_text("mine = 1")
    message = fails(capsys, monkeypatch, "init", str(path))
    assert message == f"ColmError: {path} exists already and was not changed\n"
    assert tomllib.loads(path.read_text()) == {"mine": 1}


def test_init_where_nothing_can_be_written_says_so_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    missing = tmp_path / "missing" / ("folder-" * 20) / "colm.toml"
    message = fails(capsys, monkeypatch, "init", str(missing))
    assert message == f"ColmError: {missing} cannot be written: No such file or directory\n"
    assert "exists already" in fails(capsys, monkeypatch, "init", str(tmp_path))


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["ask", "Why?", "-o", "rounds"], "ColmError: --option 'rounds' must be name="),
        (["ask", ""], "InvalidAsk: invalid request: question"),
        (
            ["ask", "Why?", "-o", "rouns=2"],
            "InvalidAsk: strategy 'colm' has no option 'rouns'; did",
        ),
        (["ask", "Why?", "--strategy", "[/red]"], "InvalidAsk: invalid request: strategy"),
        (["ask", "Why?", "-o", "[/bold]=1"], "has no option '[/bold]'"),
        (["ask", "Why?", "--rounds", "0"], "InvalidAsk: strategy 'colm' cannot use rounds"),
        (["queries", "--status", "opne"], "CallerError: no status 'opne'; did you mean"),
        (["client", "zoe"], "SettingsError: no [clients.zoe] is configured"),
        (["server", "mian"], "SettingsError: no [servers.mian] is configured; did you mean 'main'"),
    ],
)
def test_a_mistake_is_one_line_and_exit_status_1(
    environment: SetEnvironment,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    complaint: str,
) -> None:
    environment(COLM_BROKER="amqp://localhost:1/none")
    message = fails(capsys, monkeypatch, *arguments)
    assert complaint in message
    assert message.count("\n") == 1


def test_a_mistake_in_the_settings_is_one_line_too(
    environment: SetEnvironment,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    environment(COLM_BROKR="amqp://user:secret@host")
    for command in (["queries"], ["migrate"], ["doctor"], ["up"], ["coordinator"]):
        message = fails(capsys, monkeypatch, *command)
        assert "SettingsError: COLM_* variables: unknown key 'brokr'" in message
        assert "secret" not in message
        assert message.count("\n") == 1


@pytest.mark.parametrize(
    "arguments", [["dead", "recorded", "--limit", "0"], ["client"], ["nonsense"], ["ask"]]
)
def test_a_command_line_that_is_none_is_a_usage_error(arguments: list[str]) -> None:
    assert run(*arguments)[0] == 2


@pytest.mark.parametrize(
    ("text", "value"),
    [("2", 2), ("0.5", 0.5), ("true", True), ("null", None), ("ada", "ada"), ('["a"]', ["a"]),
     ("a=b", "a=b"), ("", "")],
)  # fmt: skip
def test_an_options_value_is_json_where_it_is_json(text: str, value: object) -> None:
    assert ask._pairs([f"name={text}"]) == {"name": value}


def test_the_record_is_read_without_anything_running(
    environment: SetEnvironment, sqlite_url: str, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    environment(COLM_DATABASE=sqlite_url, COLM_BROKER="amqp://localhost:1/none")
    assert run("migrate") == (0, "nothing to do\n")
    assert run("queries", "--json") == (0, "[]\n")
    assert run("dead", "recorded", "--json") == (0, "[]\n")
    assert "strategy" in run("queries")[1]
    message = fails(capsys, monkeypatch, "show", "nothing")
    assert message == "UnknownQuery: no query begins with 'nothing'; 'colm queries' lists them\n"


def test_a_question_that_is_no_text_is_refused_in_one_line() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "colm.workers", "ask", "-"],
        input=b"\xff\xfe", cwd=ROOT, capture_output=True,
        env={**os.environ, "LC_ALL": "C.UTF-8", "PYTHONIOENCODING": "utf-8:strict"},
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr.decode().startswith("ColmError: standard input is not text in UTF-8")


def test_migrate_makes_the_home_that_its_default_database_is_in(
    environment: SetEnvironment, tmp_path: Path
) -> None:
    home = tmp_path / "not" / "yet"
    environment(COLM_HOME=str(home))
    code, out = run("migrate")
    assert (code, "applied 0001" in out) == (0, True)
    assert home.stat().st_mode & 0o777 == 0o700
    assert (home / "record.sqlite").is_file()
    assert run("migrate") == (0, "nothing to do\n")


def test_migrate_says_where_home_cannot_be(
    environment: SetEnvironment, tmp_path: Path,
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    (tmp_path / "gone").symlink_to(tmp_path / "unmounted")
    environment(COLM_HOME=str(tmp_path / "gone"))
    told = fails(capsys, monkeypatch, "migrate")
    assert f"home ({tmp_path / 'gone'}) cannot be made: File exists; set COLM_HOME" in told


def test_migrate_makes_no_home_for_a_database_elsewhere(
    environment: SetEnvironment, tmp_path: Path
) -> None:
    environment(COLM_HOME=str(tmp_path / "no"), COLM_DATABASE=f"sqlite:///{tmp_path / 'a.db'}")
    assert run("migrate")[0] == 0
    assert not (tmp_path / "no").exists()
