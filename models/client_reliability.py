"""Reliability score of each client, computed from the record. Pure.

    reliability = delivered x agreement x own

`delivered` is (completed + 1) / (steps + 2), Laplace's rule of succession. `agreement` is the mean
token F1 of the client's answers with the other answers to the same query, divided by the median
over all clients, and at most 1; it is 1 below EVIDENCE queries. `own` is the share of its drafts
that are no near-copies of another client's earlier draft.

The score measures deviation from the majority. If most clients make the same mistake, the client
that is right scores low: read its answers before you exclude it.
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

from colm.models.answers.selection import token_f1

#: Minimum number of queries with other answers for `agreement`.
EVIDENCE = 10
#: A near-copy has at least COPY_WORDS words and shares COPIED of its word trigrams with an earlier
#: draft. Shorter answers can be equal because they are right.
COPY_WORDS = 20
COPIED = 0.9
#: Error kinds of the site itself: a step that could not be sent, a submission that could not be
#: recorded. They do not count against a client, and no client may submit them.
UNSENT, UNRECORDED = "Unsent", "Unrecorded"
SITE_FAILURES = (UNSENT, UNRECORDED)
#: Prefix of the query ids of `colm doctor --deep`; these queries do not count.
PROBE = "probe-"
#: Quantile of the normal distribution for an interval of 95 %.
_Z = 1.959963984540054


@dataclass(frozen=True, kw_only=True)
class Part:
    query_id: str
    client: str
    act: Literal["draft", "refine"]
    round: int
    status: Literal["completed", "failed", "expired"] | None
    at: datetime | None = None
    text: str | None = None
    seconds: float | None = None
    #: A submission arrived after the step was closed.
    late: bool = False


@dataclass(frozen=True, kw_only=True)
class Reliability:
    """Statistics of one client."""

    client: str
    queries: int
    steps: int
    completed: int
    failed: int
    expired: int
    late: int
    #: Share of completed steps, with its Wilson interval (95 %). n is the number of queries: the
    #: steps of one query fail together.
    delivered: float | None
    delivered_low: float | None
    delivered_high: float | None
    #: Mean token F1 with the other clients' answers, and the number of queries with others.
    agreement: float | None
    compared: int
    drafts: int
    near_copies: int
    refinements: int
    #: Refinements that differ from the client's answer before.
    changed: int
    median_seconds: float | None
    reliability: float


def reliabilities(parts: Iterable[Part]) -> tuple[Reliability, ...]:
    """The statistics of every client, sorted by name."""
    by_query: dict[str, list[Part]] = defaultdict(list)
    by_client: dict[str, list[Part]] = defaultdict(list)
    for part in parts:
        by_query[part.query_id].append(part)
        by_client[part.client].append(part)
    agreed: dict[str, list[float]] = defaultdict(list)
    copies: Counter[str] = Counter()
    for query_parts in by_query.values():
        for client, score in _agreement(_answers(query_parts)).items():
            agreed[client].append(score)
        copies.update(_copiers(query_parts))
    usual = _usual(agreed)
    return tuple(
        _reliability(client, by_client[client], agreed[client], copies[client], usual)
        for client in sorted(by_client)
    )


def unreliable_clients(
    scores: Mapping[str, float], names: Sequence[str], threshold: float
) -> list[str]:
    """The `names` with a score below `threshold`; none if that is half of them or more."""
    below = [name for name in names if scores.get(name, 1.0) < threshold]
    return below if 2 * len(below) < len(names) else []


def wilson(right: float, n: int) -> tuple[float, float] | None:
    """Wilson score interval (1927) of a share, at 95 %; None for n = 0."""
    if n == 0:
        return None
    share, z2 = right / n, _Z * _Z
    middle = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = _Z / (1 + z2 / n) * sqrt(share * (1 - share) / n + z2 / (4 * n * n))
    return max(0.0, middle - half), min(1.0, middle + half)


def is_near_copy(text: str, earlier: str) -> bool:
    """Whether `text` has COPY_WORDS words and shares COPIED of its trigrams with `earlier`."""
    trigrams, other = _trigrams(text), _trigrams(earlier)
    if trigrams.total() < COPY_WORDS - 2:
        return False
    return (trigrams & other).total() >= COPIED * trigrams.total()


def _reliability(
    client: str, parts: Sequence[Part], agreed: Sequence[float], copies: int, usual: float
) -> Reliability:
    status = Counter(part.status for part in parts)
    done, steps = status["completed"], len(parts)
    drafts = sum(p.act == "draft" and p.text is not None for p in parts)
    queries = len({part.query_id for part in parts})
    interval = wilson(done / steps * queries, queries) if steps else None
    own = 1 - copies / drafts if drafts else 1.0
    share = sum(agreed) / len(agreed) if agreed else None
    near = min(1.0, share / usual) if share is not None and usual > 0 else 1.0
    score = (done + 1) / (steps + 2) * (near if len(agreed) >= EVIDENCE else 1.0) * own
    times = [p.seconds for p in parts if p.seconds is not None]
    refined, changed = _changes(parts)
    return Reliability(
        client=client,
        queries=queries,
        steps=steps,
        completed=done,
        failed=status["failed"],
        expired=status["expired"],
        late=sum(part.late for part in parts),
        delivered=done / steps if steps else None,
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
    newest: dict[str, str] = {}
    for part in sorted(parts, key=lambda p: (p.round, p.act == "refine")):
        if part.text is not None:
            newest[part.client] = part.text
    return newest


def _agreement(answers: Mapping[str, str]) -> dict[str, float]:
    if len(answers) < 2:
        return {}
    return {
        client: sum(token_f1(text, other) for name, other in answers.items() if name != client)
        / (len(answers) - 1)
        for client, text in answers.items()
    }


def _usual(agreed: Mapping[str, Sequence[float]]) -> float:
    """The median of the clients' mean agreements."""
    means = [sum(scores) / len(scores) for scores in agreed.values() if scores]
    return median(means) if means else 0.0


def _copiers(parts: Sequence[Part]) -> Iterable[str]:
    """Clients whose draft is a near-copy of another client's earlier draft of the round."""
    drafts = [p for p in parts if p.act == "draft" and p.text is not None and p.at is not None]
    drafts.sort(key=lambda p: p.at.timestamp() if p.at else 0.0)
    for i, part in enumerate(drafts):
        before = [d for d in drafts[:i] if d.client != part.client and d.round == part.round]
        if any(is_near_copy(part.text or "", d.text or "") for d in before):
            yield part.client


def _changes(parts: Sequence[Part]) -> tuple[int, int]:
    """The number of refinements, and of those that differ from the client's answer before."""
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


def _trigrams(text: str) -> Counter[tuple[str, ...]]:
    words = re.findall(r"\w+", text.lower())
    return Counter(zip(words, words[1:], words[2:], strict=False))
