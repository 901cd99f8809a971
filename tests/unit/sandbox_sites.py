"""The sandbox as each kind of user meets it: root or not, with namespaces or without."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import asdict
from functools import cache
from pathlib import Path

import pytest

from colm.models.sandbox.runner import NOBODY, Limits, Verdict, run
from tests.house.repository import ROOT

QUICK = Limits(seconds=30, cpu_seconds=2)
_PROGRAM = """
import json, sys
from dataclasses import asdict
from colm.models.sandbox.runner import Limits, run
code, tests, limits, namespaces = json.load(sys.stdin)
verdict = run(code, tests, limits=Limits(**limits), namespaces=namespaces)
print(json.dumps(asdict(verdict)))
"""


@cache
def _public_python() -> str | None:
    """An interpreter that any user may run."""
    for python in (sys.executable, "/usr/bin/python3", "/usr/local/bin/python3"):
        try:
            command = [python, "-I", "-S", "-c", "import json"]
            done = subprocess.run(
                command, user=NOBODY, group=NOBODY, extra_groups=[], capture_output=True
            )
        except OSError:
            continue
        if done.returncode == 0:
            return python
    return None


class Site:
    """Runs code as root does, or as an ordinary user; with or without namespaces."""

    def __init__(self, user: str, *, namespaces: bool) -> None:
        self.namespaces = namespaces
        self._python, self._as_nobody = sys.executable, False
        if os.geteuid() == 0 and (user == "ordinary" or not namespaces):
            python = _public_python()
            if python is None or not _public(ROOT):
                pytest.skip("no interpreter or checkout that an ordinary user may read")
            self._python, self._as_nobody = python, user == "ordinary"
        elif os.geteuid() != 0 and user == "root":
            pytest.skip("needs root")

    def run(self, code: str, tests: str = "", limits: Limits = QUICK) -> Verdict:
        if not self._as_nobody:
            return run(code, tests, limits=limits, python=self._python, namespaces=self.namespaces)
        done = subprocess.run(
            [self._python, "-c", _PROGRAM],
            input=json.dumps([code, tests, asdict(limits), self.namespaces]),
            env={"PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1", "SECRET": "sesame"},
            cwd="/",
            user=NOBODY,
            group=NOBODY,
            extra_groups=[],
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        fields = json.loads(done.stdout)
        return Verdict(
            **fields | {"protections": tuple(fields["protections"]), "lost": tuple(fields["lost"])}
        )


SITES = [
    pytest.param(("root", True), id="root"),
    pytest.param(("root", False), id="root without namespaces"),
    pytest.param(("ordinary", True), id="ordinary user"),
    pytest.param(("ordinary", False), id="ordinary user without namespaces"),
]


def _public(folder: Path) -> bool:
    """Whether everybody may enter it, and all the folders above."""
    return all(path.stat().st_mode & 0o005 == 0o005 for path in (folder, *folder.parents))
