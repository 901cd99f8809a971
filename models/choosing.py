"""Which of several answers the caller is given, and the reading of a server's selection. Pure."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from math import fsum
from typing import NamedTuple

from models.answers import Kind, extract, vote


class Choice(NamedTuple):
    """The name whose answer was chosen, and why in words."""

    name: str
    because: str


def most_central(answers: Mapping[str, str]) -> Choice:
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


def most_agreed(answers: Mapping[str, str], kind: Kind | None) -> Choice:
    """The answer that most of them give; without a `kind` that tells, the most central text.

    Among equally frequent answers, and among the texts that give the same one, the most central
    goes first (`most_central`). Raises ValueError when there is nothing to choose from.
    """
    if kind is None or len(answers) < 2:
        return most_central(answers)
    names = list(answers)
    votes = vote([extract(text, kind) for text in answers.values()], kind)
    most = len(votes.majority)
    if most == 0:
        choice = most_central(answers)
        return Choice(choice.name, f"{choice.because}; none holds an answer of the kind {kind}")
    leading = sorted(i for members in votes.classes if len(members) == most for i in members)
    pool = {names[i]: answers[names[i]] for i in leading}
    name = most_central(pool).name
    return Choice(name, f"gives the answer of {most} of {len(answers)} (kind {kind})")


class Selection(NamedTuple):
    """The clients a server named, and what had to be repaired in its reply; no names: refused."""

    names: tuple[str, ...]
    remark: str


def read_selection(reply: str, known: Sequence[str], k: int) -> Selection:
    """The first `k` known names in `reply`, in its order. A reply that names nobody is refused."""
    pattern = "|".join(re.escape(name) for name in sorted(known, key=len, reverse=True))
    found = re.findall(rf"(?<![\w-])(?:{pattern})(?![\w-])", reply, flags=re.IGNORECASE)
    names = tuple(dict.fromkeys(name.lower() for name in found))
    if not names:
        return Selection((), "refused: the reply names no known client")
    if len(names) > k:
        return Selection(names[:k], f"repaired: {len(names)} clients named, the first {k} taken")
    if len(names) < k:
        return Selection(names, f"repaired: only {len(names)} of {k} clients named")
    plain = re.sub(r"[\s,.;]+", ",", reply.strip().strip(".").lower())
    clean = plain.strip(",") == ",".join(names)
    return Selection(names, "as named" if clean else "repaired: names taken from a longer reply")


def _words(text: str) -> list[str]:
    return re.findall(r"\w+", text.lower())


def _f1(one: Counter[str], other: Counter[str]) -> float:
    if not one or not other:
        return 1.0 if one == other else 0.0
    common = (one & other).total()
    return 2 * common / (one.total() + other.total())
