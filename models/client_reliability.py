"""How far each client can be relied upon, from what is recorded of it. Pure.

    reliability = delivered x agreement x own

`delivered` is (completed + 1) / (asked + 2): Laplace's rule of succession, so that a client of
which little is known is neither trusted nor distrusted. `agreement` is the mean token F1 of the
client's answer with the answers of the others to the same query, divided by the median of that over
all clients, and at most 1; it needs EVIDENCE queries and is 1 before. `own` is the share of its
drafts that are no near-copies of a draft which another client had submitted before it.

It measures who stands apart from the rest. Where most clients are wrong in the same way, the one
that is right stands apart: leave nobody out for this alone without looking at what they said.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from math import sqrt
from statistics import median
from typing import Literal

from colm.models.answers.selection import overlap

#: Queries with other answers beside it before a client's agreement counts.
EVIDENCE = 10
#: A draft of at least so many words of which this share stands in an earlier one, in the same runs
#: of three words, is a near-copy. Short answers are equal because they are right.
COPY_WORDS = 20
COPIED = 0.9
#: Kinds of failures that are the site's own: a step could not be sent to its participant, or what
#: came from it could not be recorded. No client is to blame, and none may claim them.
UNSENT, UNRECORDED = "Unsent", "Unrecorded"
NOT_THEIRS = (UNSENT, UNRECORDED)
#: How the ids of queries begin that `colm doctor --deep` asks: they count for nobody.
PROBE = "probe-"
#: Quantile of the normal distribution for an interval of 95 %.
_Z = 1.959963984540054


@dataclass(frozen=True, kw_only=True)
class Part:
    """One step of a client's, and what became of it."""

    query_id: str
    client: str
    act: Literal["draft", "refine"]
    round: int
    status: Literal["completed", "failed", "expired"] | None
    at: datetime | None = None
    text: str | None = None
    seconds: float | None = None
    #: An outcome came after the step was closed.
    late: bool = False


@dataclass(frozen=True, kw_only=True)
class Reliability:
    """What is known of one client."""

    client: str
    #: How many queries its steps belong to, and how many steps it was asked.
    queries: int
    asked: int
    completed: int
    failed: int
    expired: int
    late: int
    #: The share of what was asked that was completed, with its Wilson interval (95 %), as if all
    #: steps of a query were one: a client that is away misses them together.
    delivered: float | None
    delivered_low: float | None
    delivered_high: float | None
    #: Mean token F1 with the answers of the others, and in how many queries there were others.
    agreement: float | None
    compared: int
    drafts: int
    near_copies: int
    refinements: int
    #: Refinements that say something else than the client's draft.
    changed: int
    median_seconds: float | None
    reliability: float


def reliabilities(parts: Iterable[Part]) -> tuple[Reliability, ...]:
    """Every client's, in the order of their names."""
    by_query: dict[str, list[Part]] = defaultdict(list)
    by_client: dict[str, list[Part]] = defaultdict(list)
    for part in parts:
        by_query[part.query_id].append(part)
        by_client[part.client].append(part)
    agreed: dict[str, list[float]] = defaultdict(list)
    copies: Counter[str] = Counter()
    for mine in by_query.values():
        for client, score in _agreement(_answers(mine)).items():
            agreed[client].append(score)
        copies.update(_copiers(mine))
    usual = _usual(agreed)
    return tuple(
        _reliability(client, by_client[client], agreed[client], copies[client], usual)
        for client in sorted(by_client)
    )


def left_out(scores: Mapping[str, float], names: Sequence[str], threshold: float) -> list[str]:
    """Those of `names` below `threshold`; none where that would be half of them or more.

    Where that many fall short, the score says more about itself than about them. A client without
    a score is not left out.
    """
    below = [name for name in names if scores.get(name, 1.0) < threshold]
    return below if 2 * len(below) < len(names) else []


def wilson(right: float, n: int) -> tuple[float, float] | None:
    """Wilson's interval (1927) of a share, at 95 %; None where there is nothing to tell from."""
    if n == 0:
        return None
    share, z2 = right / n, _Z * _Z
    middle = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = _Z / (1 + z2 / n) * sqrt(share * (1 - share) / n + z2 / (4 * n * n))
    return max(0.0, middle - half), min(1.0, middle + half)


def is_near_copy(text: str, earlier: str) -> bool:
    """Whether `text` is long enough to tell, and nearly all of it stands in `earlier`."""
    mine, other = _runs(text), _runs(earlier)
    if mine.total() < COPY_WORDS - 2:
        return False
    return (mine & other).total() >= COPIED * mine.total()


def _reliability(
    client: str, parts: Sequence[Part], agreed: Sequence[float], copies: int, usual: float
) -> Reliability:
    status = Counter(part.status for part in parts)
    done, asked = status["completed"], len(parts)
    drafts = sum(p.act == "draft" and p.text is not None for p in parts)
    queries = len({part.query_id for part in parts})
    interval = wilson(done / asked * queries, queries) if asked else None
    own = 1 - copies / drafts if drafts else 1.0
    share = sum(agreed) / len(agreed) if agreed else None
    near = min(1.0, share / usual) if share is not None and usual > 0 else 1.0
    score = (done + 1) / (asked + 2) * (near if len(agreed) >= EVIDENCE else 1.0) * own
    times = [p.seconds for p in parts if p.seconds is not None]
    refined, changed = _changes(parts)
    return Reliability(
        client=client,
        queries=queries,
        asked=asked,
        completed=done,
        failed=status["failed"],
        expired=status["expired"],
        late=sum(part.late for part in parts),
        delivered=done / asked if asked else None,
        delivered_low=interval[0] if interval else None,
        delivered_high=interval[1] if interval else None,
        agreement=share,
        compared=len(agreed),
        drafts=drafts,
        near_copies=copies,
        refinements=refined,
        changed=changed,
        median_seconds=median(times) if times else None,
        reliability=score,
    )


def _answers(parts: Sequence[Part]) -> dict[str, str]:
    """Each client's newest answer in one query."""
    newest: dict[str, str] = {}
    for part in sorted(parts, key=lambda p: (p.round, p.act == "refine")):
        if part.text is not None:
            newest[part.client] = part.text
    return newest


def _agreement(answers: Mapping[str, str]) -> dict[str, float]:
    if len(answers) < 2:
        return {}
    return {
        client: sum(overlap(text, other) for name, other in answers.items() if name != client)
        / (len(answers) - 1)
        for client, text in answers.items()
    }


def _usual(agreed: Mapping[str, Sequence[float]]) -> float:
    """The median of the clients' mean agreements."""
    means = [sum(scores) / len(scores) for scores in agreed.values() if scores]
    return median(means) if means else 0.0


def _copiers(parts: Sequence[Part]) -> Iterable[str]:
    """The clients whose draft nearly repeats one that another had submitted before."""
    drafts = [p for p in parts if p.act == "draft" and p.text is not None and p.at is not None]
    drafts.sort(key=lambda p: p.at.timestamp() if p.at else 0.0)
    for i, part in enumerate(drafts):
        before = [d for d in drafts[:i] if d.client != part.client and d.round == part.round]
        if any(is_near_copy(part.text or "", d.text or "") for d in before):
            yield part.client


def _changes(parts: Sequence[Part]) -> tuple[int, int]:
    """Refinements, and those that differ from the answer that the client had before."""
    refined = changed = 0
    before: dict[str, str] = {}
    for part in sorted(parts, key=lambda p: (p.round, p.act == "refine")):
        if part.text is None:
            continue
        if part.act == "refine" and part.query_id in before:
            refined += 1
            changed += part.text.strip() != before[part.query_id].strip()
        before[part.query_id] = part.text
    return refined, changed


def _runs(text: str) -> Counter[tuple[str, ...]]:
    """Every run of three words."""
    words = re.findall(r"\w+", text.lower())
    return Counter(zip(words, words[1:], words[2:], strict=False))
