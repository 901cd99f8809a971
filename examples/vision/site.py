"""A site on this machine with the models of `examples.vision.train`."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from colm.tasks.config.settings import settings
from colm.workers.local_stack.stack import Stack

CLIENTS = ("ada", "bo", "cy")
PARTICIPANT = """
[{table}]
sees = true
[{table}.sampling]
temperature = {temperature}
max_new_tokens = 4
[{table}.engine]
model = "{model}"
device = "cpu"
dtype = "float32"
"""
#: The clients have one model: at temperature 0 their drafts would be equal.
CLIENT_TEMPERATURE, SERVER_TEMPERATURE = 0.5, 0.0


def write_site(folder: Path, client: Path, server: Path) -> Path:
    """Writes the site's colm.toml into `folder`: three weak clients, a strong server."""
    folder.mkdir(parents=True, exist_ok=True)
    tables = [(f"clients.{name}", client, CLIENT_TEMPERATURE) for name in CLIENTS]
    tables.append(("servers.main", server, SERVER_TEMPERATURE))
    text = f'home = "{(folder / "home").absolute()}"\n' + "".join(
        PARTICIPANT.format(table=table, model=model.absolute(), temperature=temperature)
        for table, model, temperature in tables
    )
    path = folder / "colm.toml"
    path.write_text(text)
    return path


@contextmanager
def running(site: Path, console: Console) -> Iterator[Stack]:
    """The site of a colm.toml, running on its embedded broker.

    The settings of this process and its children become the site's.
    """
    for name in [name for name in os.environ if name.startswith("COLM_")]:
        del os.environ[name]
    os.environ["COLM_CONFIG"] = str(site)
    settings.cache_clear()
    logs = escape(str(settings().home / "logs"))
    with Stack(settings=settings(), tell=partial(console.print, markup=False)) as stack:
        with console.status(f"waiting for every queue to have a reader (logs in {logs})"):
            stack.wait_until_ready()
        yield stack
