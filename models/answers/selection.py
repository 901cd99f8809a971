"""Which of several answers the caller is given, and the reading of a server's selection. Pure."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from math import fsum, log, sqrt
from typing import NamedTuple

from colm.models.answers.characters import ALNUM, JOINED, plain
from colm.models.answers.compare import Kind, extract, vote
from colm.models.answers.denials import is_denied
from colm.models.answers.extraction import answered_part

#: Letters that make a stem: "engineer" and "engineering", "science" and "scientist" share one.
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
    """The name whose answer was chosen, and why in words."""

    name: str
    because: str


def medoid(answers: Mapping[str, str]) -> Choice:
    """The answer that agrees most with the others: highest mean token F1 against each of them.

    Equal answers are a majority under this rule. Ties fall to the one listed first. Token F1 is the
    overlap of two bags of lower-case words, as SQuAD (Rajpurkar et al. 2016) scores answers.
    Raises ValueError when there is nothing to choose from.
    """
    if not answers:
        raise ValueError("there is no answer to choose from")
    if len(answers) == 1:
        (name,) = answers
        return Choice(name, "the only answer")
    bags = {name: Counter(_words(text)) for name, text in answers.items()}
    agreement = {
        # fsum, so that equal answers agree equally: a sum's last bit depends on its order.
        name: fsum(_f1(bag, other) for key, other in bags.items() if key != name) / (len(bags) - 1)
        for name, bag in bags.items()
    }
    name = max(agreement, key=lambda key: agreement[key])
    return Choice(name, f"agrees most with the other answers (mean token F1 {agreement[name]:.2f})")


def select_answer(answers: Mapping[str, str], kind: Kind | None, *, question: str = "") -> Choice:
    """The answer that most of them give; without a `kind` that tells, the most central text.

    Among equally frequent answers, and among the texts that give the same one, the most central
    goes first (`medoid`). `question` tells what `colm.models.answers.compare.extract` needs
    of it. Raises ValueError when there is nothing to choose from.
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
    """The clients a server named, and what had to be repaired in its reply; no names: refused."""

    names: tuple[str, ...]
    remark: str


def read_selection(reply: str, known: Sequence[str], k: int) -> Selection:
    """The first `k` known names in `reply`, in its order. A reply that names nobody is refused.

    Names in a thought are not read, nor those that are said not to be chosen. Lines at the end that
    are names and nothing else go before names within sentences.
    """
    part = plain(answered_part(reply) or "").lower()
    pattern = re.compile(
        _whole("|".join(map(re.escape, sorted(map(str.lower, known), key=len, reverse=True))))
    )
    listed = _listed(part, pattern)
    meant = (
        found[0]
        for found in pattern.finditer(listed or part)
        if listed or not is_denied(part, found.start(), found.end(), pattern)
    )
    names = tuple(dict.fromkeys(meant))
    if not names:
        return Selection((), "refused: the reply names no known client")
    if len(names) > k:
        return Selection(names[:k], f"repaired: {len(names)} clients named, the first {k} taken")
    if len(names) < k:
        return Selection(names, f"repaired: only {len(names)} of {k} clients named")
    tidy = re.sub(r"[\s,.;]+", ",", part.strip().strip("."))
    clean = tidy.strip(",") == ",".join(names)
    return Selection(names, "as named" if clean else "repaired: names taken from a longer reply")


def _whole(names: str) -> str:
    return rf"(?<!{JOINED})(?<!{ALNUM}-)(?:{names})(?!{JOINED}|-{ALNUM})"


def _listed(text: str, name: re.Pattern[str]) -> str:
    """The last lines that hold names and nothing else but what parts them; empty for none."""
    kept: list[str] = []
    for line in reversed(text.splitlines()):
        only = name.search(line) and not _BETWEEN_NAMES.sub("", name.sub("", line))
        if only:
            kept.append(line)
        elif kept and line.strip():
            break
    return "\n".join(reversed(kept))


def select_by_keywords(question: str, about: Mapping[str, str], k: int) -> Selection:
    """The at most `k` names whose descriptions share most with the question, best first.

    The cosine of two bags of word stems (a word's first letters), each weighted by how few of the
    descriptions have it (TF-IDF; Salton and Buckley 1988). Ties fall to the name listed first. No
    name is taken that shares nothing.
    """
    bags = {name: _stems(text) for name, text in about.items()}
    weights = {
        stem: log((1 + len(bags)) / (1 + sum(stem in bag for bag in bags.values())))
        for bag in bags.values()
        for stem in bag
    }
    asked = _stems(question)
    scores = {name: _cosine(asked, bag, weights) for name, bag in bags.items()}
    ranked = sorted((name for name in scores if scores[name] > 0), key=lambda n: -scores[n])[:k]
    if not ranked:
        return Selection((), "refused: no client shares a word with the question")
    shares = ", ".join(f"{name} {scores[name]:.2f}" for name in ranked)
    few = "" if len(ranked) == k else f", only {len(ranked)} of {k} share a word with the question"
    return Selection(tuple(ranked), f"by keywords: {shares}{few}")


def _stems(text: str) -> Counter[str]:
    words = re.findall(r"[^\W\d_]{3,}", text.lower())
    return Counter(word[:STEM] for word in words if word not in STOP_WORDS)


def _cosine(asked: Counter[str], bag: Counter[str], weights: Mapping[str, float]) -> float:
    """Of two weighted bags; stems that no description has weigh nothing."""
    dot = fsum(weights[stem] ** 2 * asked[stem] * bag[stem] for stem in asked if stem in bag)
    norms = [
        fsum((weights.get(stem, 0.0) * count) ** 2 for stem, count in one.items())
        for one in (asked, bag)
    ]
    return dot / sqrt(norms[0] * norms[1]) if dot else 0.0


def overlap(one: str, other: str) -> float:
    """Token F1 of two texts: 1 where they hold the same words as often, 0 where they share none."""
    return _f1(Counter(_words(one)), Counter(_words(other)))


def _words(text: str) -> list[str]:
    return re.findall(r"\w+", text.lower())


def _f1(one: Counter[str], other: Counter[str]) -> float:
    if not one or not other:
        return 1.0 if one == other else 0.0
    common = (one & other).total()
    return 2 * common / (one.total() + other.total())
