"""What is added to a question so that its final answer can be found and compared. Pure.

Every strategy asks for the same format in the same words, so that none gains by its wording.
"""

from __future__ import annotations

from models.answers import Kind

#: Where a caller says what kind of answer is wanted and gives no words of its own.
HINTS: dict[Kind, str] = {
    "exact": "End with one line: 'Answer:' and the answer alone, as short as it can be.",
    "numeric": "End with one line: 'Answer:' and the number alone.",
    "choice": "End with one line: 'Answer:' and the letter of the right choice alone.",
    "math": "End with the final answer alone in \\boxed{}.",
    "code": "Put the complete code into one block that begins with ```python and ends with ```.",
}


def with_format(question: str, kind: Kind | None, hint: str | None) -> str:
    """`question`, then how its answer should look: `hint`, or the usual one for `kind`.

    An empty `hint` adds nothing; neither does leaving out both.
    """
    words = hint if hint is not None else HINTS.get(kind, "") if kind else ""
    return f"{question}\n\n{words}" if words else question
