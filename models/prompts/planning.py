"""The prompts of COPE (arXiv 2506.11578): plans, and solutions that follow them. Wording is ours.

A solution's prompt begins as the draft's does, with persona and question; a plan comes after it,
framed as a text of somebody else's.
"""

from __future__ import annotations

from colm.models.messages import Participant, Turn
from colm.models.prompts import colm
from colm.models.prompts.quoting import quote_untrusted

VERSION = "2026-11-plans-c"

#: Ends a plan: it is one paragraph.
STOP = ("\n\n",)
#: A plan is a sentence or two; whatever is longer than this has run away (characters).
MAX_PLAN_CHARS = 8_000


#: One worked example for each kind of plan: without it a small model begins to solve. It is of an
#: uncommon sort, for a small model copies an example that resembles its problem.
_PROBLEM = "Today is a Tuesday. Which day of the week will it be in 100 days?"
_GOAL = "Find the weekday 100 days after a Tuesday, counting what is left over after whole weeks."
_GUIDELINE = (
    "Whole weeks do not change the weekday: divide the days by 7 and count the remainder on from "
    "Tuesday. Do not count the Tuesday itself as the first day."
)


def goal_plan(planner: Participant, question: str) -> tuple[Turn, ...]:
    """Ask a small model for the goal of the problem, in one sentence (COPE, stage 1)."""
    return _asking(
        planner,
        question,
        _GOAL,
        "Do not solve it. In one sentence, say what has to be found and what a solution must get "
        "right on the way.",
    )


def guideline_plan(planner: Participant, question: str) -> tuple[Turn, ...]:
    """Ask a large model for the way to a solution, in one or two sentences (COPE, stage 2)."""
    return _asking(
        planner,
        question,
        _GUIDELINE,
        "Do not solve it. In one or two sentences, tell a less experienced colleague which way "
        "leads to the solution and which mistake to avoid.",
    )


def solve(
    solver: Participant, question: str, hint: str, goal: str | None, guideline: str | None
) -> tuple[Turn, ...]:
    """Ask for a solution in the light of the plans that there are; without one it is a draft.

    The words on the format of the answer (`hint`) come last, where a small model heeds them.
    """
    told = [
        f"{label}:\n<{tag}>\n{quote_untrusted(_cut(text), tag)}\n</{tag}>"
        for label, tag, text in (
            ("What matters in this problem", "goal", goal),
            ("Advice on how to go about it", "guideline", guideline),
        )
        if text is not None and text.strip()
    ]
    follow = ["Follow this where it is right, and carry the solution out."] if told else []
    return colm.draft(solver, "\n\n".join([question, *told, *follow, *([hint] if hint else [])]))


def _asking(planner: Participant, question: str, example: str, words: str) -> tuple[Turn, ...]:
    (*before, _) = colm.draft(planner, "")
    return (
        *before,
        Turn(role="user", content=f"Problem:\n{_PROBLEM}\n\n{words}"),
        Turn(role="assistant", content=example),
        Turn(role="user", content=f"Problem:\n{question}\n\n{words}"),
    )


def _cut(plan: str) -> str:
    return colm._cut(plan.strip(), MAX_PLAN_CHARS)
