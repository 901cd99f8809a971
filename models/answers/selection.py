"""Choice of the caller's answer, and selection of clients. Pure."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from math import fsum, log, sqrt
from typing import NamedTuple

from colm.models.answers.characters import ALNUM, JOINED, plain
from colm.models.answers.compare import Kind, extract, vote
from colm.models.answers.denials import is_denied
from colm.models.answers.extraction import without_thought

#: Letters of a stem: "engineer" and "engineering", "science" and "scientist" share one.
STEM = 5
_BETWEEN_NAMES = re.compile(
    r"\b(?:and|then|the|selection|selected|clients?|answer|chosen|choice|und|y|et)\b|[\d\W_]"
)
_STOP_WORDS = """
about and any are but can did does for from had has have how its look looks more most much not one
our out own should than that the their them then there these they this those very was were what when
where which who whom whose why will with would you your
"""
STOP_WORDS = frozenset(_STOP_WORDS.split())


class Choice(NamedTuple):
    """The author of the chosen answer, and the reason."""

    name: str
    because: str


def medoid(answers: Mapping[str, str]) -> Choice:
    """The answer with the highest mean token F1 against the others; the first of a tie.

    Token F1 is the overlap of two bags of lower-case words (SQuAD, Rajpurkar et al. 2016). Raises
    ValueError without answers.
    """
    if not answers:
        raise ValueError("there is no answer to choose from")
    if len(answers) == 1:
        (name,) = answers
        return Choice(name, "the only answer")
    bags = {name: Counter(_words(text)) for name, text in answers.items()}
    agreement = {
        # fsum is independent of the order, so that equal answers get equal scores.
        name: fsum(_f1(bag, other) for key, other in bags.items() if key != name) / (len(bags) - 1)
        for name, bag in bags.items()
    }
    name = max(agreement, key=lambda key: agreement[key])
    return Choice(name, f"agrees most with the other answers (mean token F1 {agreement[name]:.2f})")


def select_answer(answers: Mapping[str, str], kind: Kind | None, *, question: str = "") -> Choice:
    """The most frequent answer; the medoid without a `kind`, and among equally frequent answers.

    `question` is for `colm.models.answers.compare.extract`. Raises ValueError without answers.
    """
    if kind is None or len(answers) < 2:
        return medoid(answers)
    names = list(answers)
    votes = vote([extract(text, kind, question=question) for text in answers.values()], kind)
    most = len(votes.majority)
    if most == 0:
        choice = medoid(answers)
        return Choice(choice.name, f"{choice.because}; none holds an answer of the kind {kind}")
    leading = sorted(i for members in votes.classes if len(members) == most for i in members)
    pool = {names[i]: answers[names[i]] for i in leading}
    name = medoid(pool).name
    return Choice(name, f"gives the answer of {most} of {len(answers)} (kind {kind})")


class Selection(NamedTuple):
    """The selected clients, and a remark on repairs; no names: the reply was refused."""

    names: tuple[str, ...]
    remark: str


def read_selection(reply: str, clients: Sequence[str], k: int) -> Selection:
    """The first `k` client names in `reply`; a reply without names is refused.

    Thoughts and negated names are ignored. Final lines of names only take precedence over names in
    sentences.
    """
    part = plain(without_thought(reply) or "").lower()
    longest_first = sorted(map(str.lower, clients), key=len, reverse=True)
    pattern = re.compile(_name_pattern("|".join(map(re.escape, longest_first))))
    lines = _name_lines(part, pattern)
    mentioned = (
        match[0]
        for match in pattern.finditer(lines or part)
        if lines or not is_denied(part, match.start(), match.end(), pattern)
    )
    names = tuple(dict.fromkeys(mentioned))
    if not names:
        return Selection((), "refused: the reply names no known client")
    if len(names) > k:
        return Selection(names[:k], f"repaired: {len(names)} clients named, the first {k} taken")
    if len(names) < k:
        return Selection(names, f"repaired: only {len(names)} of {k} clients named")
    tidy = re.sub(r"[\s,.;]+", ",", part.strip().strip("."))
    clean = tidy.strip(",") == ",".join(names)
    return Selection(names, "as named" if clean else "repaired: names taken from a longer reply")


def _name_pattern(names: str) -> str:
    return rf"(?<!{JOINED})(?<!{ALNUM}-)(?:{names})(?!{JOINED}|-{ALNUM})"


def _name_lines(text: str, name: re.Pattern[str]) -> str:
    """The last lines that have only names and separators; empty without any."""
    lines: list[str] = []
    for line in reversed(text.splitlines()):
        only = name.search(line) and not _BETWEEN_NAMES.sub("", name.sub("", line))
        if only:
            lines.append(line)
        elif lines and line.strip():
            break
    return "\n".join(reversed(lines))


def select_by_keywords(question: str, about: Mapping[str, str], k: int) -> Selection:
    """At most `k` names whose descriptions are most similar to the question, best first.

    Cosine of bags of word stems (STEM letters) with TF-IDF weights (Salton and Buckley 1988); the
    first of a tie. Names without a common word are not selected.
    """
    bags = {name: _stems(text) for name, text in about.items()}
    weights = {
        stem: log((1 + len(bags)) / (1 + sum(stem in bag for bag in bags.values())))
        for bag in bags.values()
        for stem in bag
    }
    stems = _stems(question)
    scores = {name: _cosine(stems, bag, weights) for name, bag in bags.items()}
    ranked = sorted((name for name in scores if scores[name] > 0), key=lambda n: -scores[n])[:k]
    if not ranked:
        return Selection((), "refused: no client shares a word with the question")
    shares = ", ".join(f"{name} {scores[name]:.2f}" for name in ranked)
    few = "" if len(ranked) == k else f", only {len(ranked)} of {k} share a word with the question"
    return Selection(tuple(ranked), f"by keywords: {shares}{few}")


def _stems(text: str) -> Counter[str]:
    words = re.findall(r"[^\W\d_]{3,}", text.lower())
    return Counter(word[:STEM] for word in words if word not in STOP_WORDS)


def _cosine(question: Counter[str], bag: Counter[str], weights: Mapping[str, float]) -> float:
    """Cosine of two weighted bags; stems that no description has weigh 0."""
    dot = fsum(weights[stem] ** 2 * question[stem] * bag[stem] for stem in question if stem in bag)
    norms = [
        fsum((weights.get(stem, 0.0) * count) ** 2 for stem, count in counts.items())
        for counts in (question, bag)
    ]
    return dot / sqrt(norms[0] * norms[1]) if dot else 0.0


def token_f1(first: str, second: str) -> float:
    """Token F1 of two texts: 1 for equal bags of words, 0 without a common word."""
    return _f1(Counter(_words(first)), Counter(_words(second)))


def _words(text: str) -> list[str]:
    return re.findall(r"\w+", text.lower())


def _f1(first: Counter[str], second: Counter[str]) -> float:
    if not first or not second:
        return 1.0 if first == second else 0.0
    common = (first & second).total()
    return 2 * common / (first.total() + second.total())
