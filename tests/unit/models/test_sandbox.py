"""Code that a model wrote is judged by its tests, and does no harm whatever it tries."""

from __future__ import annotations

import os
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from colm.models.errors import SandboxUnusable
from colm.models.sandbox.runner import MAX_PROGRAM, Limits, Verdict, protections, run
from tests.unit.sandbox_sites import QUICK, SITES, Site


@pytest.fixture(params=SITES)
def site(request: pytest.FixtureRequest) -> Site:
    user, namespaces = request.param
    return Site(user, namespaces=namespaces)


def test_code_that_passes_its_tests_has_passed(site: Site) -> None:
    verdict = site.run(
        "import collections, math, re, random, decimal\n"
        "from typing import List\n\ndef double(x: int) -> int:\n    return 2 * x",
        "assert double(2) == 4\nopen('scratch', 'w').write('own folder')",
    )

    assert (verdict.status, verdict.reason) == ("passed", "")
    assert {"limits", "system calls"} <= set(verdict.protections)
    # In a changed root (chroot) there is no other to be had: then Landlock keeps the files.
    assert site.namespaces or "own root" not in verdict.protections
    assert ("Landlock" in verdict.protections) is ("own root" not in verdict.protections)


def test_code_that_fails_says_where(site: Site) -> None:
    verdict = site.run("def double(x):\n    return x", "x = 1\nassert double(2) == 4, 'two'")

    assert verdict.status == "failed"
    assert verdict.reason == (
        "AssertionError: two (line 2 of the tests: assert double(2) == 4, 'two')"
    )


HARM = {
    "starts processes without end": "import os\nwhile True: os.fork()",
    "starts a program": "import subprocess; subprocess.run(['/bin/true'])",
    "starts threads": "import threading; threading.Thread(target=print).start()",
    "fills the memory": "x = bytearray(4 * 2**30)",
    "fills the memory slowly": "x = []\nwhile True: x.append(bytearray(2**20))",
    "computes for ever": "while True: pass",
    "sleeps for ever": "import time; time.sleep(1000)",
    "opens the network": "import socket; socket.socket()",
    "looks a name up": "import socket; socket.getaddrinfo('example.com', 80)",
    "kills its parent": "import os; os.kill(os.getppid(), 9); raise SystemError('killed')",
    "kills everything": "import os; os.kill(-1, 9)",
    "kills its group": "import os; os.killpg(0, 9)",
    "leaves its group": "import os; os.setsid()",
    "reads the passwords": "open('/etc/passwd').read()",
    "writes a large file": "open('x', 'wb').write(bytes(2**26))",
    "lifts its limits": "import resource as r; r.setrlimit(r.RLIMIT_CPU, (99, 99))",
    "nests without end": "def f(): f()\nf()",
    "crashes": "import ctypes; ctypes.string_at(0)",
    "ends at once": "import os; os._exit(0)",
    "ends politely": "raise SystemExit(0)",
    "ends in another way": "import signal; signal.raise_signal(9)",
    "says that it passed": (
        'import os\nfor fd in range(32):\n    try: os.write(fd, b\'{"status": "passed"}\\n\')\n'
        "    except OSError: pass\nos._exit(0)"
    ),
    "floods every pipe": (
        "import os\nwhile True:\n  for fd in range(32):\n    try: os.write(fd, b'x' * 10**6)\n"
        "    except OSError: pass"
    ),
    "is no Python": "def (",
    "is not even text": "x = '\0'",
}


@pytest.mark.parametrize("harm", HARM)
@pytest.mark.parametrize("site", [SITES[0], SITES[3]], indirect=True)
def test_code_that_does_harm_does_not_pass_and_does_none(site: Site, harm: str) -> None:
    started = time.monotonic()
    clock = 3.0 if "sleeps" in harm else 20.0
    limits = Limits(seconds=clock, cpu_seconds=1, memory=256 * 2**20)

    verdict = site.run(HARM[harm], limits=limits)

    assert not verdict.passed
    assert verdict.reason
    assert time.monotonic() - started < 60
    assert (verdict.status == "timeout") is (harm.endswith(("ever", "pipe")))


def test_code_cannot_write_outside_its_folder(site: Site) -> None:
    with tempfile.TemporaryDirectory() as shared:
        folder = Path(shared)
        folder.chmod(0o777)
        places = [str(folder / "canary"), str(Path.home() / "canary"), "/var/tmp/colm-canary"]
        (folder / "mine").write_text("untouched")
        (folder / "mine").chmod(0o666)
        verdict = site.run(
            "import os\nwritten = []\n"
            f"for place in {places!r}:\n"
            "    try:\n        open(place, 'w').write('x')\n        written.append(place)\n"
            "    except OSError: pass\n"
            f"for act in (os.remove, os.listdir, lambda p: os.chmod(p, 0), os.truncate):\n"
            f"    try:\n        act({str(folder / 'mine')!r})\n        written.append(act)\n"
            "    except (OSError, TypeError): pass\n",
            "assert written == [], written",
        )

        assert verdict.passed, verdict.reason
        assert not any(os.path.exists(place) for place in places)
        assert (folder / "mine").read_text() == "untouched"


def test_code_sees_no_secret(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET", "sesame")
    secret = Path(tempfile.gettempdir()) / "colm-test-secret"
    secret.write_text("sesame")
    secret.chmod(0o644)
    try:
        verdict = site.run(
            "import os, glob\nseen = str(dict(os.environ))\n"
            f"for place in [*glob.glob('/proc/*/environ'), {str(secret)!r}]:\n"
            "    try:\n        seen += open(place).read()\n    except OSError: pass\n",
            "assert 'sesame' not in seen, seen",
        )
    finally:
        secret.unlink()

    assert verdict.passed, verdict.reason


def test_output_is_thrown_away_and_may_be_closed(site: Site) -> None:
    assert site.run("print('x' * 10**7)").passed
    assert site.run("import os; [os.close(n) for n in (0, 1, 2)]").passed


@pytest.mark.alone
def test_a_busy_machine_has_three_times_as_long_as_the_program() -> None:
    limits = Limits.of(2.5, 64 * 2**20)

    assert (limits.seconds, limits.cpu_seconds, limits.memory) == (7.5, 3, 64 * 2**20)
    slept = run("import time; time.sleep(2)", limits=Limits.of(1, 256 * 2**20))
    assert slept.passed, slept.reason


def test_nothing_of_a_run_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        Path(scratch).chmod(0o711)
        monkeypatch.setattr(tempfile, "tempdir", scratch)
        code = "open('left', 'w').write('x'); import time; time.sleep(60)"
        verdict = run(code, limits=Limits(seconds=1))

        assert verdict.status == "timeout"
        assert list(Path(scratch).iterdir()) == []


def test_runs_beside_each_other_do_not_meet() -> None:
    def one(number: int) -> Verdict:
        return run(
            f"import os; assert os.listdir() == []\nopen('{number}', 'w').close()\nx = {number}",
            f"assert x == {number} and os.listdir() == ['{number}']",
        )

    with ThreadPoolExecutor(4) as pool:
        assert all(verdict.passed for verdict in pool.map(one, range(12)))


def test_a_program_beyond_bounds_is_not_started() -> None:
    verdict = run("x" * (MAX_PROGRAM + 1))

    assert (verdict.status, verdict.seconds) == ("failed", 0.0)


def test_this_machine_says_what_protects_it() -> None:
    verdict = protections()

    assert verdict.passed
    assert set(verdict.protections) >= {"limits", "system calls"}


def test_without_an_interpreter_nothing_is_judged() -> None:
    with pytest.raises(SandboxUnusable, match="cannot be started"):
        run("", python="/nowhere/python3")
    with pytest.raises(SandboxUnusable, match="before it ran anything"):
        run("", python="/bin/true", limits=QUICK)
