"""Questions and prompts of all systems. Pure."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, field
from typing import NamedTuple

from colm.models.answers.selection import read_selection
from colm.models.messages import Role, Turn
from colm.models.prompts import colm, colm_restated
from colm.models.roster import Roster

SERVER = "main"
PERSONAS = {
    "ada": ("You are a careful mathematician who checks every step.", "mathematics and logic"),
    "bo": ("You are a practical engineer who looks for what works.", "engineering"),
    "cy": ("You are a curious scientist who asks what the evidence says.", "natural science"),
    "di": ("You are a historian who remembers how it went before.", "history and society"),
}


class Question(NamedTuple):
    """A question, and the tokens of every completion for it."""

    text: str
    tokens: int


#: Each with a quarter of the tokens of the model's own answer at temperature 0.7 (7 to 330); at
#: least 12, in which a server can name clients.
QUESTIONS = (
    Question("A bat and a ball cost 1.10, the bat 1 more than the ball. What costs the ball?", 46),
    Question("Why does ice float on water?", 12),
    Question("Name three causes of the First World War.", 16),
    Question("A train goes 120 km in 90 minutes. How fast is it in km/h?", 12),
    Question("Should a small town ban cars from its centre?", 37),
    Question("What is a hash table good for?", 82),
    Question("Which is heavier, a kilogram of iron or a kilogram of feathers?", 36),
    Question("How would you keep bread fresh for a week?", 37),
)


@dataclass(frozen=True, kw_only=True)
class Work:
    """The input of every system."""

    questions: tuple[Question, ...]
    roster: Roster
    #: Clients that the server selects.
    select: int
    rounds: int


@dataclass(frozen=True, kw_only=True)
class Call:
    """One generation of exactly `tokens` tokens."""

    role: Role
    messages: tuple[Turn, ...]
    tokens: int


@dataclass
class Tally:
    """The work and time of one system."""

    seconds: float = 0.0
    #: Of these, for loading weights.
    loading: float = 0.0
    loads: int = 0
    calls: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    #: The last answer of each client to each question.
    answers: list[dict[str, str]] = field(default_factory=list)

    @property
    def per_token(self) -> float:
        """Milliseconds per completion token: comparable if the tokens differ."""
        return 1000 * self.seconds / self.completion_tokens


#: Yields concurrent calls and is sent their texts; returns each client's answer.
Query = Generator[list[Call], list[str], dict[str, str]]


def query(work: Work, question: Question) -> Query:
    """A query with the prompts of strategy `colm`, in its order."""
    clients = list(work.roster.clients.values())
    text = question.text

    def call(role: Role, messages: tuple[Turn, ...]) -> Call:
        return Call(role=role, messages=messages, tokens=question.tokens)

    (reply,) = yield [call("server", colm.select(clients, text, work.select))]
    names = read_selection(reply, [c.name for c in clients], work.select).names
    chosen = [c for c in clients if c.name in names] or clients
    relevant = {c.name: c.name in names for c in clients} if names else {}
    texts = yield [call("client", colm.draft(c, text)) for c in chosen]
    answers = dict(zip([c.name for c in chosen], texts, strict=True))
    for _ in range(work.rounds):
        drafts = [colm.LabelledDraft(c, answers[c.name]) for c in clients if c.name in answers]
        (guidance,) = yield [call("server", colm.synthesize(drafts, text))]
        texts = yield [
            call(
                "client",
                colm_restated.refine(
                    c, text, answers.get(c.name), guidance, relevant=relevant.get(c.name)
                ),
            )
            for c in clients
        ]
        answers = dict(zip([c.name for c in clients], texts, strict=True))
    return answers
