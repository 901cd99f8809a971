"""Writes a run's report: one self-contained HTML file, the same as JSON, its tables as Markdown,
and its figures as PNGs.

Every text of a model or a data set is escaped. The HTML needs no network and no script, and prints.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, is_dataclass
from pathlib import Path
from typing import Any

from colm.evaluation.report.figures import RenderedFigure
from colm.evaluation.report.markdown import tables
from colm.evaluation.report.number_format import interval, number, p_value, points, share
from colm.evaluation.report.plots import pictures
from colm.evaluation.stats.analysis import Analysis, analyse, compare
from colm.evaluation.stats.run_data import RunData
from colm.evaluation.stats.tables import Comparison

#: Characters of a question or an answer that the report shows.
MAX_SHOWN = 4_000
_TEMPLATE = "report.html"


@dataclass(frozen=True, kw_only=True)
class Files:
    """What was written."""

    html: Path
    json: Path
    markdown: Path
    pictures: tuple[Path, ...]
    #: What the numbers in them cannot tell.
    cautions: tuple[str, ...]


def write(data: RunData, folder: Path, *, before: RunData | None = None, seed: int = 0) -> Files:
    """Write the report of `data` into `folder`, which is made; `before` is a run to compare with.

    The same data and seed give the same files. What lies there under the same names is replaced.
    """
    found = analyse(data, seed=seed)
    changes = compare(before, data, seed=seed) if before else ()
    drawn = pictures(data, found)
    folder.mkdir(parents=True, exist_ok=True)
    html, plain = folder / "report.html", folder / "report.json"
    html.write_text(render(data, found, drawn, before=before, changes=changes), encoding="utf-8")
    told = as_json(data, found, before=before, changes=changes)
    plain.write_text(json.dumps(told, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    markdown = folder / "report.md"
    markdown.write_text(tables(data, found), encoding="utf-8")
    files = []
    for picture in drawn:
        files.append(folder / f"{picture.name}.png")
        files[-1].write_bytes(picture.png)
    return Files(
        html=html,
        json=plain,
        markdown=markdown,
        pictures=tuple(files),
        cautions=found.cautions,
    )


def render(
    data: RunData,
    found: Analysis,
    drawn: Sequence[RenderedFigure],
    *,
    before: RunData | None = None,
    changes: Sequence[Comparison] = (),
) -> str:
    """The report as HTML."""
    figures = {picture.name: picture for picture in drawn}
    return page(
        Path(__file__).parent,
        _TEMPLATE,
        data=data,
        found=found,
        before=before,
        changes=changes,
        figures=figures,
        sources={name: source(picture) for name, picture in figures.items()},
        priced=any(row.cost.dollars for row in found.entries),
    )


def page(folder: Path, template: str, **values: Any) -> str:
    """A template of `folder` filled with `values`, every text of which is escaped."""
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(folder),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "share": share, "interval": interval, "points": points, "p": p_value, "number": number,
        "shown": shown,
    }  # fmt: skip
    return environment.get_template(template).render(**values)


def as_json(
    data: RunData,
    found: Analysis,
    *,
    before: RunData | None = None,
    changes: Sequence[Comparison] = (),
) -> dict[str, Any]:
    """All numbers of the report, and the regressions' texts, as JSON has them."""
    return {
        "run": data.run,
        "ordered": data.ordered,
        "data": data.data,
        "machine": data.machine,
        "notes": list(data.notes),
        "planned": data.planned,
        "done": len(data.units),
        "bad_rows": [list(row) for row in data.bad_rows],
        "sharing": {
            "steps_asked": data.steps_asked,
            "steps_generated": data.steps_generated,
            "tokens_saved": data.tokens_saved,
        },
        "analysis": plain(found),
        "surfaces": plain(data.surfaces),
        "compared_with": before.run if before else None,
        "changes": plain(changes),
    }


def shown(text: str) -> str:
    return text if len(text) <= MAX_SHOWN else text[:MAX_SHOWN] + " [cut]"


def source(picture: RenderedFigure) -> str:
    """A figure as the address of an image that carries its own bytes."""
    return "data:image/svg+xml;base64," + base64.b64encode(picture.svg).decode()


def plain(value: Any) -> Any:
    """A value of dataclasses as JSON has it."""
    if is_dataclass(value) and not isinstance(value, type):
        return plain(asdict(value))
    if isinstance(value, Mapping):
        return {str(key): plain(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(one) for one in value]
    return value
