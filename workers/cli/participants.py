"""`colm client` and `colm server`: run a participant or manage its RabbitMQ user."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from colm.models.messages import Role
from colm.workers.cli import completion, processes
from colm.workers.cli.options import Json

Name = Annotated[
    str, typer.Argument(help="The participant's name.", autocompletion=completion.participants)
]
User = Annotated[
    str | None, typer.Option(help="The user on the broker; default: colm-NAME.", metavar="USER")
]
Api = Annotated[
    str | None,
    typer.Option(
        "--management",
        metavar="URL",
        help="RabbitMQ's management API with an administrator's login. Prefer "
        "COLM_MANAGEMENT: other users of the machine can read command lines.",
    ),
]
Write = Annotated[
    Path | None, typer.Option(help="Write the colm.toml to this file, with mode 0600.")
]
Address = Annotated[
    str | None,
    typer.Option(help="The broker's amqps://HOST:PORT for this participant; default: as here."),
]


class RunByDefault(TyperGroup):
    """Makes `colm client ada` mean `colm client run ada`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if not args or (args[0] not in self.commands and args[0] != "--help"):
            args = ["run", *args]
        return super().parse_args(ctx, args)


def group(role: Role) -> typer.Typer:
    """The commands of one role."""
    help_texts = {
        "client": "Run a client worker, or manage the RabbitMQ users of clients.",
        "server": "Run a server worker, or manage the RabbitMQ users of servers.",
    }
    commands = typer.Typer(cls=RunByDefault, help=help_texts[role], add_completion=False)
    commands.command("run")(processes.client if role == "client" else processes.server)
    for command in (_add, _rotate, _remove, _list):
        commands.command(command.__name__.strip("_"))(command(role))
    return commands


def _add(role: Role) -> Any:
    def add(
        name: Name,
        user: User = None,
        address: Address = None,
        write: Write = None,
        flower: Annotated[bool, typer.Option(help="Allow its events in Flower.")] = True,
        management: Api = None,
    ) -> None:
        from colm.workers.cli.accounts import create_account

        create_account(role, name, user, address, write, events=flower, management=management)

    add.__doc__ = (
        f"Create a {role}'s RabbitMQ user, with permissions for its own queues only.\n\n"
        "Prints its colm.toml with the password, which is stored nowhere else."
    )
    return add


def _rotate(role: Role) -> Any:
    def rotate(
        name: Name,
        user: User = None,
        address: Address = None,
        write: Write = None,
        close: Annotated[
            bool, typer.Option("--close", help="Close connections that use the old password.")
        ] = False,
        management: Api = None,
    ) -> None:
        from colm.workers.cli.accounts import rotate_user

        rotate_user(role, name, user, address, write, close=close, management=management)

    rotate.__doc__ = f"Set a new password for a {role}'s user, and print its colm.toml."
    return rotate


def _remove(role: Role) -> Any:
    def remove(
        name: Name,
        user: User = None,
        queues: Annotated[bool, typer.Option("--queues", help="Delete its queues too.")] = False,
        force: Annotated[
            bool, typer.Option("--force", help="Even if messages wait in them.")
        ] = False,
        management: Api = None,
    ) -> None:
        from colm.workers.cli.accounts import remove_user

        remove_user(role, name, user, queues=queues, force=force, management=management)

    remove.__doc__ = f"Delete a {role}'s user and close its connections; its queues stay."
    return remove


def _list(role: Role) -> Any:
    def list_(management: Api = None, as_json: Json = False) -> None:
        from colm.workers.cli.accounts import list_users

        list_users(role, management, as_json=as_json, out=sys.stdout)

    list_.__doc__ = f"List the users of {role}s and their connections."
    return list_
