"""The scripts and the Makefile are sound, and the documents name only what they offer."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.house.repository import ROOT, files, lines, name

SCRIPTS = [path for path in files() if path.parent.name in {"scripts", ".ci"}]


def _tool(program: str) -> Path:
    return Path(sys.executable).with_name(program)


def test_shellcheck_finds_nothing() -> None:
    done = subprocess.run(
        [_tool("shellcheck"), "--external-sources", *SCRIPTS],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("script", [path for path in SCRIPTS if not path.suffix], ids=name)
def test_a_script_stops_at_its_first_error_and_can_be_run(script: Path) -> None:
    assert "\nset -euo pipefail\n" in script.read_text()
    assert os.access(script, os.X_OK)


def _targets() -> set[str]:
    return set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))


def test_help_lists_every_target() -> None:
    done = subprocess.run(["make", "help"], cwd=ROOT, check=True, capture_output=True, text=True)
    assert set(re.findall(r"^make ([a-z-]+) ", done.stdout, re.MULTILINE)) == _targets()


def test_ci_runs_the_readmes_test_command() -> None:
    assert "exec make test\n" in (ROOT / ".ci" / "run").read_text()
    assert "make test" in (ROOT / "README.md").read_text()


def test_the_documents_name_only_targets_that_exist() -> None:
    documents = [path for path in files() if path.suffix == ".md"]
    named = [
        (where, target)
        for path in documents
        for where, line in lines(path)
        for target in re.findall(r"(?:`|^\s*(?:\$ )?)make ([a-z][a-z-]*)", line)
    ]
    assert [(where, target) for where, target in named if target not in _targets()] == []


def _find_services(tmp_path: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run install-services as a user who can install nothing and has no service."""
    script = (ROOT / "scripts" / "install-services").read_text().replace("/usr/lib/", "/nowhere/")
    (tmp_path / "scripts").mkdir()
    (tmp_path / "scripts" / "install-services").write_text(script)
    (tmp_path / "scripts" / "packages.sh").write_text(
        (ROOT / "scripts" / "packages.sh").read_text() + "\nmay_install() { false; }\n"
    )
    (tmp_path / "bin").mkdir()
    for program in ("bash", "dirname"):
        (tmp_path / "bin" / program).symlink_to(f"/bin/{program}")
    return subprocess.run(
        ["/bin/bash", tmp_path / "scripts" / "install-services"],
        env={"PATH": str(tmp_path / "bin"), **environment},
        capture_output=True,
        text=True,
    )


def test_missing_services_are_named_loudly_where_nothing_can_be_installed(tmp_path: Path) -> None:
    done = _find_services(tmp_path)
    assert done.returncode == 0
    assert "NOT INSTALLED: postgresql rabbitmq-server" in done.stderr


def test_missing_services_are_a_failure_in_ci(tmp_path: Path) -> None:
    assert _find_services(tmp_path, CI="true").returncode == 1


@pytest.mark.parametrize(
    ("apt", "tries", "told"),
    [
        ("exit 0", ["install"], ""),
        # Known after an update only; not at all; and there already.
        (
            '[ "$1" = update ] && touch "$0.updated"; [ -e "$0.updated" ]',
            ["install", "update", "install"],
            "",
        ),
        ("exit 100", ["install", "update"], "libfaketime is not installed"),
        (None, [], ""),
    ],
)
def test_libfaketime_is_installed_where_it_can_be_and_never_a_failure(
    tmp_path: Path, apt: str | None, tries: list[str], told: str
) -> None:
    lib = tmp_path / "lib"
    present = ["postgresql/15/bin/postgres", "rabbitmq/lib/rabbitmq_server-3/sbin/rabbitmq-server"]
    present += [] if apt else ["x86_64-linux-gnu/faketime/libfaketimeMT.so.1"]
    for file in present:
        (lib / file).parent.mkdir(parents=True)
        (lib / file).touch()
    (tmp_path / "scripts").mkdir()
    for script in ("install-services", "packages.sh"):
        text = (ROOT / "scripts" / script).read_text()
        text = text.replace("/usr/lib/", f"{lib}/").replace("/usr/local/", f"{tmp_path}/local/")
        (tmp_path / "scripts" / script).write_text(text)
    bin_ = tmp_path / "bin"
    bin_.mkdir()
    for program in ("bash", "dirname", "env", "timeout", "touch"):
        (bin_ / program).symlink_to(f"/usr/bin/{program}")
    for program, body in (("id", "echo 0"), ("apt-get", apt or "exit 1")):
        tried = f'echo "$1" >>{tmp_path}/tried\n' if program == "apt-get" else ""
        (bin_ / program).write_text(f"#!/bin/bash\n{tried}{body}\n")
        (bin_ / program).chmod(0o755)
    done = subprocess.run(
        ["/bin/bash", tmp_path / "scripts" / "install-services"],
        env={"PATH": str(bin_), "CI": "true"}, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    log = tmp_path / "tried"
    assert (log.read_text().split() if log.exists() else []) == tries
    assert told in done.stderr
    assert bool(told) == bool(done.stderr)
