"""`colm dead`: list, show, replay and drop dead letters."""

from __future__ import annotations

from typing import Annotated

import typer

from colm.workers.cli.options import Json

group = typer.Typer(help="List, show, replay and drop dead letters.", no_args_is_help=True)

Limit = Annotated[int, typer.Option(min=1, max=100_000, help="Letters read from each queue.")]
Ids = Annotated[
    list[str] | None, typer.Argument(metavar="[ID]...", help="Ids of `colm dead list`.")
]
All = Annotated[bool, typer.Option("--all", help="All letters, or all that match --reason.")]
Reason = Annotated[str | None, typer.Option(help="Only letters whose reason contains this text.")]
Texts = Annotated[bool, typer.Option("--texts", help="Also show the message bodies.")]


@group.command("list")
def list_letters(limit: Limit = 1_000, as_json: Json = False) -> None:
    """List the dead letters on the broker, oldest first; needs only the broker."""
    from colm.workers.cli.dead_letter_actions import show_list

    show_list(limit, as_json=as_json)


@group.command("show")
def show_letter(
    letter: Annotated[str, typer.Argument(metavar="ID", help="An id of `colm dead list`.")],
    texts: Texts = False,
    limit: Limit = 10_000,
    as_json: Json = False,
) -> None:
    """Show one dead letter, without its text unless --texts."""
    from colm.workers.cli.dead_letter_actions import show_one

    show_one(letter, limit, texts=texts, as_json=as_json)


@group.command("replay")
def replay_letters(
    ids: Ids = None,
    every: All = False,
    reason: Reason = None,
    limit: Limit = 10_000,
    as_json: Json = False,
) -> None:
    """Publish dead letters again to their first exchange, and remove them."""
    from colm.workers.cli.dead_letter_actions import replay_or_drop

    replay_or_drop("replay", ids or [], limit, every=every, reason=reason, as_json=as_json)


@group.command("drop")
def drop_letters(
    ids: Ids = None,
    every: All = False,
    reason: Reason = None,
    limit: Limit = 10_000,
    as_json: Json = False,
) -> None:
    """Remove dead letters that are in the record."""
    from colm.workers.cli.dead_letter_actions import replay_or_drop

    replay_or_drop("drop", ids or [], limit, every=every, reason=reason, as_json=as_json)


@group.command("recorded")
def recorded_letters(
    limit: Annotated[int, typer.Option(min=1, max=10_000)] = 20,
    texts: Texts = False,
    as_json: Json = False,
) -> None:
    """List the latest dead letters in the record, newest first."""
    from colm.workers.cli.query_actions import list_dead_letters

    list_dead_letters(limit, texts=texts, as_json=as_json)
