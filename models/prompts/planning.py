"""The prompts of COPE (arXiv 2506.11578): plans, and solutions that follow them. Pure; the wording
is our own. A solve prompt begins as the draft prompt does, and ends with the quoted plans.
"""

from __future__ import annotations

from colm.models.messages import Participant, Turn
from colm.models.prompts import colm
from colm.models.prompts.quoting import quote_untrusted

VERSION = "2026-11-plans-d"

#: Stop strings: a plan is one paragraph.
STOP = ("\n\n",)
MAX_PLAN_CHARS = 8_000

#: One-shot example of each kind of plan: without it a small model begins to solve the problem. The
#: topic is uncommon, because a small model copies an example that resembles its problem.
_PROBLEM = "Today is a Tuesday. Which day of the week will it be in 100 days?"
_GOAL = "Find the weekday 100 days after a Tuesday by counting the days left after whole weeks."
_GUIDELINE = (
    "Whole weeks do not change the weekday: divide the days by 7 and count the remainder on from "
    "Tuesday. Do not count the Tuesday itself as the first day."
)


def goal_plan(planner: Participant, question: str) -> tuple[Turn, ...]:
    """Prompt for the goal of the problem, in one sentence (COPE, stage 1)."""
    return _one_shot(
        planner,
        question,
        _GOAL,
        "Do not solve it. In one sentence, say what must be found and what a solution must get "
        "right.",
    )


def guideline_plan(planner: Participant, question: str) -> tuple[Turn, ...]:
    """Prompt for the way to a solution, in one or two sentences (COPE, stage 2)."""
    return _one_shot(
        planner,
        question,
        _GUIDELINE,
        "Do not solve it. In one or two sentences, tell a less experienced colleague how to reach "
        "the solution and which mistake to avoid.",
    )


def solve(
    solver: Participant, question: str, hint: str, goal: str | None, guideline: str | None
) -> tuple[Turn, ...]:
    """Prompt for a solution that follows the plans; without plans it is the draft prompt.

    The format hint comes last: small models follow the last instruction best.
    """
    plans = [
        f"{label}:\n<{tag}>\n{quote_untrusted(text, tag, MAX_PLAN_CHARS)}\n</{tag}>"
        for label, tag, text in (
            ("The goal of this problem", "goal", goal),
            ("Advice for the solution", "guideline", guideline),
        )
        if text is not None and text.strip()
    ]
    follow = ["Follow this where it is right, and write the solution."] if plans else []
    return colm.draft(solver, "\n\n".join([question, *plans, *follow, *([hint] if hint else [])]))


def _one_shot(planner: Participant, question: str, example: str, request: str) -> tuple[Turn, ...]:
    (*before, _) = colm.draft(planner, "")
    return (
        *before,
        Turn(role="user", content=f"Problem:\n{_PROBLEM}\n\n{request}"),
        *colm.reply_to_draft(example, f"Problem:\n{question}\n\n{request}"),
    )
