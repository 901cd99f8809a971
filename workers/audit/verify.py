"""`colm audit verify`: what is not as it was recorded, for people and for scripts."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path

import typer
from rich.console import Console
from rich.progress import Progress
from rich.text import Text

from colm.db.audit.export import check_export
from colm.db.audit.verify_all import AuditResult, check_everything, check_query, count_queries
from colm.db.audit.verify_query import AuditFinding
from colm.db.connection import connect
from colm.db.integrity.signatures import Trust
from colm.db.reads.answers import whole_id
from colm.models.errors import BadMessage, ColmError, UnknownQuery
from colm.tasks.config.settings import settings
from colm.workers.audit import keys as audit_keys
from colm.workers.audit.checkpoints import key_path
from colm.workers.console import print_plain


def verify_query(query: str, keys: Sequence[str], *, as_json: bool) -> bool:
    """Whether nothing is wrong. Raises UnknownQuery where nothing is left of such a query."""
    engine = connect(settings().database_url, pool_size=1)
    trust = _trust(keys, site=True)
    checked = check_query(engine, query, trust)
    if checked == AuditResult():
        checked = check_query(engine, whole_id(engine, query), trust)
    if checked == AuditResult():
        raise UnknownQuery(f"the record knows nothing of {query!r}")
    return _tell(checked, trust, as_json=as_json)


def verify_everything(keys: Sequence[str], *, as_json: bool) -> bool:
    engine = connect(settings().database_url, pool_size=1)
    trust = _trust(keys, site=True)
    checked = AuditResult()
    with _bar() as bar:
        task = bar.add_task("verifying queries", total=count_queries(engine))
        latest = audit_keys.latest(key_path(settings()))
        for part in check_everything(engine, trust, latest):
            checked += part
            bar.update(task, completed=checked.queries + checked.tombstones)
    return _tell(checked, trust, as_json=as_json)


def verify_export(path: Path, keys: Sequence[str], *, as_json: bool) -> bool:
    """Needs no database and no settings: the keys to trust are those that are given."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ColmError(f"{path} cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise BadMessage(f"{path} holds no JSON: {error}") from error
    trust = _trust(keys, site=False)
    rows, found = check_export(document, trust)
    checked = AuditResult(
        queries=1,
        rows=len(rows.links),
        checkpoints=len(rows.checkpoints),
        unchained=int(rows.unchained),
        findings=tuple(found),
    )
    if not as_json:
        typer.echo(f"query {rows.query_id}, exported {document['exported_at']}")
        typer.echo(f"signed by {document['key']}")
    return _tell(checked, trust, as_json=as_json)


def _trust(keys: Sequence[str], *, site: bool) -> Trust:
    given = {audit_keys.parse_public(key) for key in keys}
    own = audit_keys.load(key_path(settings())) if site else None
    return Trust(check=audit_keys.check, keys=frozenset(given | ({own.key} if own else set())))


def _tell(checked: AuditResult, trust: Trust, *, as_json: bool) -> bool:
    if as_json:
        print_plain({**asdict(checked), "keys": sorted(trust.keys)}, indent=None)
        return not checked.findings
    console = Console()
    for finding in checked.findings:
        console.print(_line(finding), soft_wrap=True)
    console.print(_summary(checked), soft_wrap=True)
    for note in _notes(checked, trust):
        console.print(Text(note, style="dim"), soft_wrap=True)
    return not checked.findings


def _line(finding: AuditFinding) -> Text:
    of = f"query {finding.query_id}: " if finding.query_id else ""
    return Text(f"{of}{finding.table}, {finding.row}: {finding.what}", style="red")


def _summary(checked: AuditResult) -> Text:
    counts = (
        (checked.queries, "queries"),
        (checked.rows, "rows"),
        (checked.tombstones, "tombstones"),
        (checked.checkpoints, "checkpoints"),
    )
    looked_at = ", ".join(f"{count} {what}" for count, what in counts if count)
    if checked.findings:
        return Text(f"{len(checked.findings)} findings in {looked_at}", style="bold red")
    return Text(f"as recorded: {looked_at or 'nothing'}", style="bold green")


def _notes(checked: AuditResult, trust: Trust) -> Iterable[str]:
    if checked.unchained:
        yield f"unchained: {checked.unchained} queries were recorded before rows had hashes"
    if checked.uncovered:
        yield f"uncovered: {checked.uncovered} queries have rows that no checkpoint covers yet"
    if not trust.keys:
        yield "no key to trust: signatures were held against the keys that they name; give --key"


def _bar() -> Progress:
    console = Console(stderr=True)
    return Progress(console=console, transient=True, disable=not console.is_terminal)
