"""`colm audit`, `purge`, `erase`: proving what happened, and letting it go."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from colm.workers.cli import completion
from colm.workers.cli.options import Json, Query

group = typer.Typer(
    help="Prove what happened: verify the record, sign checkpoints, export a query.",
    no_args_is_help=True,
)

Keys = Annotated[
    list[str] | None,
    typer.Option("--key", metavar="PUBLIC", help="A public key to trust; repeat for more."),
]


@group.command()
def key(as_json: Json = False) -> None:
    """Print this site's public key; make the key where there is none."""
    from colm.workers.cli.audit_actions import show_key

    show_key(as_json=as_json)


@group.command()
def checkpoint(as_json: Json = False) -> None:
    """Sign a checkpoint: a Merkle root over the record. Without the key nobody can make another."""
    from colm.workers.cli.audit_actions import checkpoint_now

    checkpoint_now(as_json=as_json)


@group.command()
def verify(
    query: Annotated[
        str | None,
        typer.Argument(
            help="A query id, or the beginning of one.", autocompletion=completion.queries
        ),
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="The whole record.")] = False,
    document: Annotated[
        Path | None, typer.Option("--export", help="A file that `export` wrote.")
    ] = None,
    keys: Keys = None,
    as_json: Json = False,
) -> None:
    """Find what was changed, removed, added or moved behind CoLM's back; exit status 1 if any."""
    from colm.workers.audit.verify import verify_everything, verify_export, verify_query

    if sum((query is not None, everything, document is not None)) != 1:
        raise typer.BadParameter("name a query, or say --all, or --export FILE")
    if document is not None:
        clean = verify_export(document, keys or [], as_json=as_json)
    elif query is not None:
        clean = verify_query(query, keys or [], as_json=as_json)
    else:
        clean = verify_everything(keys or [], as_json=as_json)
    raise typer.Exit(0 if clean else 1)


@group.command()
def export(
    query: Query,
    output: Annotated[Path, typer.Option("--output", "-o", help="The file to write.")],
) -> None:
    """Write a query's record, signed, to a file that verifies without the database."""
    from colm.workers.cli.audit_actions import export_query

    export_query(query, output)


KeepImages = Annotated[
    bool, typer.Option("--keep-images", help="Leave images that no query shows in the store.")
]


def purge(
    older_than: Annotated[str, typer.Option(help="An age: 90d, 12h, 30m.")],
    batch: Annotated[int, typer.Option(min=1, max=10_000, help="Queries a transaction.")] = 100,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only count them.")] = False,
    reason: Annotated[str, typer.Option(help="Kept with each tombstone.")] = "retention",
    keep_images: KeepImages = False,
) -> None:
    """Remove queries that ended long ago, leaving a tombstone of each, and images without one."""
    from colm.workers.audit.retention import purge_older

    purge_older(older_than, batch, reason, dry_run=dry_run, images=not keep_images)


def erase(
    query: Annotated[
        str | None,
        typer.Argument(help="A whole query id.", autocompletion=completion.queries),
    ] = None,
    run: Annotated[
        str | None,
        typer.Option(help="Every ended query of this run.", autocompletion=completion.runs),
    ] = None,
    asked_by: Annotated[str, typer.Option("--by", help="Who asked for it; kept for ever.")] = "",
    reason: Annotated[str, typer.Option(help="Why; kept for ever.")] = "",
    keep_images: KeepImages = False,
) -> None:
    """Erase texts and images of a query for good; that it was asked and answered stays provable."""
    from colm.workers.audit.retention import erase_texts

    if (query is None) == (run is None):
        raise typer.BadParameter("name a query, or a run with --run")
    if not asked_by.strip() or not reason.strip():
        raise typer.BadParameter("say who asked for it with --by, and why with --reason")
    erase_texts(query, run, asked_by, reason, images=not keep_images)
