"""`colm client` and `colm server`: run a participant, or care for its user on the broker."""

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
    str,
    typer.Argument(help="The participant's name.", autocompletion=completion.participants),
]
User = Annotated[
    str | None, typer.Option(help="The user on the broker; default: colm-NAME.", metavar="USER")
]
Api = Annotated[
    str | None,
    typer.Option(
        "--management",
        metavar="URL",
        help="RabbitMQ's management API with an administrator's login. Better in "
        "COLM_MANAGEMENT: a command line can be seen by every user of the machine.",
    ),
]
Write = Annotated[
    Path | None, typer.Option(help="Write the colm.toml here, for this user only to read.")
]
Address = Annotated[
    str | None,
    typer.Option(help="amqps://HOST:PORT by which it reaches the broker; default: as here."),
]


class RunByDefault(TyperGroup):
    """`colm client ada` means `colm client run ada`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if not args or (args[0] not in self.commands and args[0] != "--help"):
            args = ["run", *args]
        return super().parse_args(ctx, args)


def group(role: Role) -> typer.Typer:
    """The commands of one role."""
    help_texts = {
        "client": "Run a client worker, or add, rotate, remove, list the users of clients.",
        "server": "Run a server worker, or add, rotate, remove, list the users of servers.",
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
        flower: Annotated[
            bool, typer.Option(help="Whether it may show its tasks in Flower.")
        ] = True,
        management: Api = None,
    ) -> None:
        from colm.workers.cli.accounts import create_account

        create_account(role, name, user, address, write, events=flower, management=management)

    add.__doc__ = (
        f"Give a {role} its own user on RabbitMQ, with rights to its own queues only.\n\n"
        "Prints its colm.toml, with the password, once; it is kept nowhere else."
    )
    return add


def _rotate(role: Role) -> Any:
    def rotate(
        name: Name,
        user: User = None,
        address: Address = None,
        write: Write = None,
        close: Annotated[
            bool, typer.Option("--close", help="End what is connected with the old password.")
        ] = False,
        management: Api = None,
    ) -> None:
        from colm.workers.cli.accounts import rotate_user

        rotate_user(role, name, user, address, write, close=close, management=management)

    rotate.__doc__ = f"Give a {role}'s user a new password, and print its colm.toml with it."
    return rotate


def _remove(role: Role) -> Any:
    def remove(
        name: Name,
        user: User = None,
        queues: Annotated[bool, typer.Option("--queues", help="Delete its queues too.")] = False,
        force: Annotated[
            bool, typer.Option("--force", help="Even where messages wait in them.")
        ] = False,
        management: Api = None,
    ) -> None:
        from colm.workers.cli.accounts import remove_user

        remove_user(role, name, user, queues=queues, force=force, management=management)

    remove.__doc__ = f"Delete a {role}'s user and end its connections; its queues are kept."
    return remove


def _list(role: Role) -> Any:
    def list_(management: Api = None, as_json: Json = False) -> None:
        from colm.workers.cli.accounts import list_users

        list_users(role, management, as_json=as_json, out=sys.stdout)

    list_.__doc__ = f"List the users that were made for {role}s, and who is connected."
    return list_
