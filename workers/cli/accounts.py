"""What `colm client add` and its like print: a colm.toml to hand over, and what is left to do.

The file goes to standard output or to a file that only this user can read; everything else goes to
standard error, so that `colm client add ada > ada.toml` holds the file and nothing else. It has the
one secret that its participant needs: the password of its own user.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import TextIO
from urllib.parse import quote, urlsplit

from pydantic import TypeAdapter, ValidationError

from colm.models.errors import ColmError, SettingsError
from colm.models.messages import Name, Role
from colm.models.urls import redact, split
from colm.tasks.config.settings import (
    RESERVED,
    ParticipantSettings,
    Settings,
    default_servers,
    settings,
)
from colm.workers.rabbitmq import users
from colm.workers.rabbitmq.management_api import management_of

HEAD = """\
# CoLM's {role} {name!r}. Keep this file to yourself (chmod 600): it holds the password of its user.
# Save it as colm.toml where the {role} runs, or name it in COLM_CONFIG. Then: colm {role} {name}
broker = {broker}
"""
TLS = """
[tls]
# The authority that signed the broker's certificate; without it the system's are trusted.
# ca = "ca.pem"
"""
ENGINE = """
[{role}s.{name}.engine]
{engine}
"""
QUICKSTART = 'model = "quickstart"          # a folder, a hub id, or a .gguf file'


def create_account(
    role: Role,
    name: str,
    user: str | None,
    address: str | None,
    write: Path | None,
    *,
    events: bool,
    management: str | None,
) -> None:
    """Make the participant's user and queues, and hand out its settings."""
    found = settings()
    _check_name(role, name, found)
    wanted = users.account(role, name, user)
    _check_free(write)
    with management_of(found, management) as broker:
        base = _address(found, address)
        password = users.add(broker, wanted, events=events)
    write_credentials(wanted, password, base, write)
    table = found.clients if role == "client" else found.servers
    if name not in table:
        _tell(
            f"the coordinators do not know {name!r} yet. Add this to their colm.toml and restart "
            f'them:\n\n[{role}s.{name}]\npersona = ""\ndomain = ""\n'
        )


def rotate_user(
    role: Role,
    name: str,
    user: str | None,
    address: str | None,
    write: Path | None,
    *,
    close: bool,
    management: str | None,
) -> None:
    """Give the user a new password, and hand out the settings with it."""
    found = settings()
    wanted = users.account(role, name, user)
    _check_free(write)
    with management_of(found, management) as broker:
        base = _address(found, address)
        password = users.rotate(broker, wanted, close=close)
    write_credentials(wanted, password, base, write)
    _tell(
        f"the old password opens no connection from now on; {role} {name} must be started again "
        "with the new one. " + ("Its connections were ended." if close else "What is connected "
        "stays so until it ends; --close ends it.") + f" To have two passwords for a while: colm "
        f"{role} add {name} --user OTHER, and later colm {role} remove {name} --user {wanted.user}"
    )  # fmt: skip


def remove_user(
    role: Role,
    name: str,
    user: str | None,
    *,
    queues: bool,
    force: bool,
    management: str | None,
) -> None:
    """Take the user away, and say what is left to do."""
    found = settings()
    wanted = users.account(role, name, user)
    with management_of(found, management) as broker:
        told = users.remove(broker, wanted, queues=queues, force=force)
    _tell(*told)
    if name in (found.clients if role == "client" else found.servers):
        _tell(f"take [{role}s.{name}] out of the coordinators' colm.toml and restart them")


def list_users(role: Role, management: str | None, *, as_json: bool, out: TextIO) -> None:
    """Print each user of the role: for whom it is, how often it is connected, whether known."""
    found = settings()
    table = found.clients if role == "client" else found.servers
    with management_of(found, management) as broker:
        rows = [
            {
                "user": a.user,
                "name": a.name,
                "connections": len(list(broker.connections(a.user))),
                "configured": a.name in table,
            }
            for a in users.accounts(broker)
            if a.role == role
        ]
        others = users.of_others(broker)
    if others:
        _tell(f"not shown: {others} users of other sites, which have no right in this virtual host")
    if as_json:
        json.dump(rows, out, indent=2)
        out.write("\n")
        return
    for row in rows:
        known = "" if row["configured"] else ", not in this colm.toml"
        out.write(f"{row['user']}: {role} {row['name']}, {row['connections']} connections{known}\n")


def settings_file(wanted: users.Account, password: str, base: str, found: Settings) -> str:
    """The colm.toml of a participant, whose broker is at `base` (scheme, host, port, vhost)."""
    parts = urlsplit(base)
    login = f"{quote(wanted.user, safe='')}:{quote(password, safe='')}"
    broker = parts._replace(netloc=f"{login}@{parts.netloc}").geturl()
    text = HEAD.format(role=wanted.role, name=wanted.name, broker=json.dumps(broker))
    if parts.scheme == "amqps":
        text += TLS
    table = found.clients if wanted.role == "client" else found.servers
    engine = _engine(table.get(wanted.name))
    text += ENGINE.format(role=wanted.role, name=wanted.name, engine=engine)
    if wanted.role == "client" and wanted.name in default_servers():
        # Its file would else have the built-in server of the same name.
        text += "".join(f"\n[servers.{server}]\n" for server in found.servers)
    return text


def _engine(participant: ParticipantSettings | None) -> str:
    """The engine as the coordinators' file has it, as TOML; JSON's values are TOML's."""
    if participant is None:
        return QUICKSTART
    given = participant.engine.model_dump(mode="json", exclude_defaults=True)
    lines = []
    for key, value in given.items():
        value = redact(value) if isinstance(value, str) else value
        lines.append(f"{key} = {json.dumps(value, ensure_ascii=False)}")
    return "\n".join(lines) or QUICKSTART


def _address(found: Settings, address: str | None) -> str:
    """Where the participant finds the broker, without a login, and with the virtual host."""
    here = urlsplit(found.broker_url)
    if address is None:
        return here._replace(netloc=here.netloc.rpartition("@")[2]).geturl()
    try:
        given = split(address)
    except ValueError as error:
        raise SettingsError(f"--address: {error}") from None
    if given.scheme not in {"amqp", "amqps"} or not given.host or given.login is not None:
        raise SettingsError("--address is of the form amqps://HOST:PORT, without a login")
    port = "" if given.port is None else f":{given.port}"
    return here._replace(scheme=given.scheme, netloc=given.host + port).geturl()


def _check_name(role: Role, name: str, found: Settings) -> None:
    other = found.servers if role == "client" else found.clients
    try:
        TypeAdapter(Name).validate_python(name)
    except ValidationError:
        raise SettingsError(
            f"{name!r} is no name: 1 to 40 of a-z, 0-9, _ and -, beginning with a letter or digit"
        ) from None
    if name in RESERVED:
        raise SettingsError(f"{name!r} is a word of 'colm {role}' and no name; choose another")
    if name in other:
        raise SettingsError(f"{name!r} is a {'server' if role == 'client' else 'client'} already")


def _check_free(path: Path | None) -> None:
    """Before anything is made on the broker: a password that cannot be written would be lost."""
    if path is None:
        return
    if path.exists():
        raise ColmError(f"{path} exists already; it was left as it is")
    if not os.access(path.absolute().parent, os.W_OK):
        raise ColmError(f"{path} cannot be written: its folder is missing or not yours")


def write_credentials(wanted: users.Account, password: str, base: str, write: Path | None) -> None:
    text = settings_file(wanted, password, base, settings())
    if write is None:
        sys.stdout.write(text)
        sys.stdout.flush()
        return
    with open(write, "x", encoding="utf-8", opener=_private) as file:
        file.write(text)
    _tell(f"wrote {write}")


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _tell(*lines: str) -> None:
    sys.stderr.write("".join(f"{line}\n" for line in lines))
