"""Implementation of `colm client|server add|rotate|remove|list`.

The generated colm.toml goes to standard output or to a file of mode 0600; messages go to standard
error. The file contains one secret: the password of the participant's RabbitMQ user.
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
# CoLM's {role} {name!r}. Keep this file secret (chmod 600): it contains the user's password.
# Save it as colm.toml where the {role} runs, or name it in COLM_CONFIG. Then: colm {role} {name}
broker = {broker}
"""
TLS = """
[tls]
# The CA of the broker's certificate; default: the system's.
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
    """Create the participant's user and queues, and write its settings."""
    config = settings()
    _check_name(role, name, config)
    account = users.account(role, name, user)
    _check_free(write)
    with management_of(config, management) as broker:
        base = _address(config, address)
        password = users.add(broker, account, events=events)
    write_credentials(account, password, base, write)
    table = config.clients if role == "client" else config.servers
    if name not in table:
        _tell(
            f"{name!r} is not in the coordinators' colm.toml. Add this and restart "
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
    """Set a new password, and write the settings with it."""
    config = settings()
    account = users.account(role, name, user)
    _check_free(write)
    with management_of(config, management) as broker:
        base = _address(config, address)
        password = users.rotate(broker, account, close=close)
    write_credentials(account, password, base, write)
    _tell(
        f"the old password is invalid for new connections: restart {role} {name} with the new one. "
        + ("Its connections were closed." if close else "Open connections stay; --close ends them.")
        + f" For two valid passwords: colm {role} add {name} --user OTHER, and later colm {role} "
        f"remove {name} --user {account.user}"
    )  # fmt: skip


def remove_user(
    role: Role, name: str, user: str | None, *, queues: bool, force: bool, management: str | None
) -> None:
    """Delete the user, and print the remaining steps."""
    config = settings()
    account = users.account(role, name, user)
    with management_of(config, management) as broker:
        messages = users.remove(broker, account, queues=queues, force=force)
    _tell(*messages)
    if name in (config.clients if role == "client" else config.servers):
        _tell(f"remove [{role}s.{name}] from the coordinators' colm.toml and restart them")


def list_users(role: Role, management: str | None, *, as_json: bool, out: TextIO) -> None:
    """Print each user of the role: participant, connections, and whether it is configured."""
    config = settings()
    table = config.clients if role == "client" else config.servers
    with management_of(config, management) as broker:
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
        _tell(f"not listed: {others} users without permissions in this virtual host")
    if as_json:
        json.dump(rows, out, indent=2)
        out.write("\n")
        return
    for row in rows:
        note = "" if row["configured"] else ", not in this colm.toml"
        out.write(f"{row['user']}: {role} {row['name']}, {row['connections']} connections{note}\n")


def settings_file(account: users.Account, password: str, base: str, config: Settings) -> str:
    """The text of a participant's colm.toml. `base`: scheme, host, port and virtual host."""
    parts = urlsplit(base)
    login = f"{quote(account.user, safe='')}:{quote(password, safe='')}"
    broker = parts._replace(netloc=f"{login}@{parts.netloc}").geturl()
    text = HEAD.format(role=account.role, name=account.name, broker=json.dumps(broker))
    if parts.scheme == "amqps":
        text += TLS
    table = config.clients if account.role == "client" else config.servers
    engine = _engine(table.get(account.name))
    text += ENGINE.format(role=account.role, name=account.name, engine=engine)
    if account.role == "client" and account.name in default_servers():
        # The built-in server of the same name would conflict.
        text += "".join(f"\n[servers.{server}]\n" for server in config.servers)
    return text


def _engine(participant: ParticipantSettings | None) -> str:
    """The engine table of the coordinators' colm.toml. JSON values are valid TOML."""
    if participant is None:
        return QUICKSTART
    values = participant.engine.model_dump(mode="json", exclude_defaults=True)
    lines = []
    for key, value in values.items():
        value = redact(value) if isinstance(value, str) else value
        lines.append(f"{key} = {json.dumps(value, ensure_ascii=False)}")
    return "\n".join(lines) or QUICKSTART


def _address(config: Settings, address: str | None) -> str:
    """The broker's URL for the participant: without a login, with the virtual host."""
    here = urlsplit(config.broker_url)
    if address is None:
        return here._replace(netloc=here.netloc.rpartition("@")[2]).geturl()
    try:
        parts = split(address)
    except ValueError as error:
        raise SettingsError(f"--address: {error}") from None
    if parts.scheme not in {"amqp", "amqps"} or not parts.host or parts.login is not None:
        raise SettingsError("--address must be amqps://HOST:PORT, without a login")
    port = "" if parts.port is None else f":{parts.port}"
    return here._replace(scheme=parts.scheme, netloc=parts.host + port).geturl()


def _check_name(role: Role, name: str, config: Settings) -> None:
    other = config.servers if role == "client" else config.clients
    try:
        TypeAdapter(Name).validate_python(name)
    except ValidationError:
        raise SettingsError(
            f"{name!r} is not a valid name: 1 to 40 of a-z, 0-9, _ and -, first a letter or digit"
        ) from None
    if name in RESERVED:
        raise SettingsError(f"{name!r} is a subcommand of 'colm {role}': choose another name")
    if name in other:
        raise SettingsError(f"{name!r} is a {'server' if role == 'client' else 'client'} already")


def _check_free(path: Path | None) -> None:
    """Check the file before the user is created: a password that cannot be written is lost."""
    if path is None:
        return
    if path.exists():
        raise ColmError(f"{path} exists already and was not changed")
    if not os.access(path.absolute().parent, os.W_OK):
        raise ColmError(f"{path} cannot be written: its folder is missing or not writable")


def write_credentials(account: users.Account, password: str, base: str, write: Path | None) -> None:
    text = settings_file(account, password, base, settings())
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
