"""`colm dead`: messages given up on; to look at, to send on their way again, or to drop."""

from __future__ import annotations

from typing import Annotated

import typer

from colm.workers.cli.options import Json

group = typer.Typer(
    help="Look at dead letters, messages given up on; replay or drop them.", no_args_is_help=True
)

Limit = Annotated[int, typer.Option(min=1, max=100_000, help="Letters of each queue.")]
Ids = Annotated[list[str] | None, typer.Argument(metavar="[ID]...", help="As `list` shows them.")]
All = Annotated[bool, typer.Option("--all", help="Every letter, or every one that --reason names.")]
Reason = Annotated[str | None, typer.Option(help="Only letters whose reason holds this text.")]
Texts = Annotated[bool, typer.Option("--texts", help="Show what the messages say, too.")]


@group.command("list")
def list_letters(limit: Limit = 1_000, as_json: Json = False) -> None:
    """List the dead letters on the broker, oldest first; nothing else need be running."""
    from colm.workers.cli.dead_letter_actions import show_list

    show_list(limit, as_json=as_json)


@group.command("show")
def show_letter(
    letter: Annotated[str, typer.Argument(metavar="ID", help="As `list` shows it.")],
    texts: Texts = False,
    limit: Limit = 10_000,
    as_json: Json = False,
) -> None:
    """Show one dead letter; without its text unless --texts."""
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
    """Publish dead letters again where they were first published, and remove them."""
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
    """Remove dead letters that the record holds already."""
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
