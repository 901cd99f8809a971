"""Report of a run: one self-contained HTML file, JSON, Markdown tables and PNG figures.

Texts of models and data sets are escaped. The HTML needs no network and no script.
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
from colm.evaluation.report.plots import render_figures
from colm.evaluation.stats.analysis import Analysis, analyse, compare
from colm.evaluation.stats.run_data import RunData
from colm.evaluation.stats.tables import Comparison

#: Characters of a question or an answer in the report.
MAX_SHOWN = 4_000
_TEMPLATE = "report.html"


@dataclass(frozen=True, kw_only=True)
class Files:
    """Paths of the written files."""

    html: Path
    json: Path
    markdown: Path
    figures: tuple[Path, ...]
    cautions: tuple[str, ...]


def write(data: RunData, folder: Path, *, before: RunData | None = None, seed: int = 0) -> Files:
    """Write the report of `data` into `folder`; `before` is a run to compare with.

    The folder is created and its report files are replaced. Equal data and seed give equal files.
    """
    analysis = analyse(data, seed=seed)
    changes = compare(before, data, seed=seed) if before else ()
    figures = render_figures(data, analysis)
    folder.mkdir(parents=True, exist_ok=True)
    html, plain = folder / "report.html", folder / "report.json"
    html.write_text(
        render(data, analysis, figures, before=before, changes=changes), encoding="utf-8"
    )
    document = as_json(data, analysis, before=before, changes=changes)
    plain.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    markdown = folder / "report.md"
    markdown.write_text(tables(data, analysis), encoding="utf-8")
    files = []
    for figure in figures:
        files.append(folder / f"{figure.name}.png")
        files[-1].write_bytes(figure.png)
    return Files(
        html=html, json=plain, markdown=markdown, figures=tuple(files), cautions=analysis.cautions
    )


def render(
    data: RunData,
    analysis: Analysis,
    figures: Sequence[RenderedFigure],
    *,
    before: RunData | None = None,
    changes: Sequence[Comparison] = (),
) -> str:
    """The report as HTML."""
    by_name = {figure.name: figure for figure in figures}
    return page(
        Path(__file__).parent,
        _TEMPLATE,
        data=data,
        analysis=analysis,
        before=before,
        changes=changes,
        figures=by_name,
        sources={name: source(figure) for name, figure in by_name.items()},
        priced=any(row.cost.dollars for row in analysis.entries),
    )


def page(folder: Path, template: str, **values: Any) -> str:
    """A template of `folder`, filled with escaped `values`."""
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
        "truncated": truncated,
    }  # fmt: skip
    return environment.get_template(template).render(**values)


def as_json(
    data: RunData,
    analysis: Analysis,
    *,
    before: RunData | None = None,
    changes: Sequence[Comparison] = (),
) -> dict[str, Any]:
    """All numbers of the report, and the texts of regressions, as JSON types."""
    return summary(data) | {
        "bad_rows": [list(row) for row in data.bad_rows],
        "sharing": {
            "steps_asked": data.steps_asked,
            "steps_generated": data.steps_generated,
            "tokens_saved": data.tokens_saved,
        },
        "analysis": plain(analysis),
        "threshold_sweeps": plain(data.threshold_sweeps),
        "compared_with": before.run if before else None,
        "changes": plain(changes),
    }


def summary(data: RunData) -> dict[str, Any]:
    """Description and progress of the run as JSON types."""
    names = ("run", "ordered", "data", "machine", "planned")
    values = {name: getattr(data, name) for name in names}
    return values | {"notes": list(data.notes), "done": len(data.units)}


def truncated(text: str) -> str:
    return text if len(text) <= MAX_SHOWN else text[:MAX_SHOWN] + " [cut]"


def source(figure: RenderedFigure) -> str:
    """The figure as a data: URL."""
    return "data:image/svg+xml;base64," + base64.b64encode(figure.svg).decode()


def plain(value: Any) -> Any:
    """Dataclasses, mappings and sequences as JSON types."""
    if is_dataclass(value) and not isinstance(value, type):
        return plain(asdict(value))
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return value
