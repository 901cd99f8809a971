"""What is added to a question so that its final answer can be found and compared. Pure.

Every strategy asks for the same format in the same words, so that none gains by its wording.
"""

from __future__ import annotations

from colm.models.answers.compare import Kind

#: Where a caller says what kind of answer is wanted and gives no words of its own.
HINTS: dict[Kind, str] = {
    "exact": "First the reason, then one last line: 'Answer:' and the answer alone, in few words.",
    "numeric": "First the reason, then one last line: 'Answer:' and the number alone.",
    "choice": "First the reason, then one last line: 'Answer:' and the letter of the choice alone.",
    "math": "First the reason, then one last line: the final answer alone in \\boxed{}.",
    "code": "Put the complete code into one block that begins with ```python and ends with ```.",
}


def hint_of(kind: Kind | None, hint: str | None) -> str:
    """How an answer should look: `hint`, or the usual words for `kind`; empty where there are none.

    An empty `hint` says nothing; neither does leaving out both.
    """
    if hint is not None:
        return hint
    return HINTS.get(kind, "") if kind else ""


def with_format(question: str, kind: Kind | None, hint: str | None) -> str:
    """`question`, then how its answer should look."""
    words = hint_of(kind, hint)
    return f"{question}\n\n{words}" if words else question
