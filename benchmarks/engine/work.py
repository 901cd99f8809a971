"""The work of the engine benchmarks: mixed requests, a query of CoLM, a refinement. Pure.

All prompts are chats, rendered by the model's own template, and every completion has the length
that its call names: the weights are such that no turn ends by itself.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.peers.work import PERSONAS, QUESTIONS
from colm.models.messages import Participant, Turn
from colm.models.prompts import colm

#: The least and the most tokens of a mixed request, as they were measured in the field.
PROMPT_TOKENS, NEW_TOKENS = (51, 583), (19, 244)
CLIENTS = tuple(
    Participant(name=name, role="client", persona=persona, domain=domain)
    for name, (persona, domain) in list(PERSONAS.items())[:3]
)


@dataclass(frozen=True, kw_only=True)
class Call:
    """One generation of exactly `tokens` tokens."""

    messages: tuple[Turn, ...]
    tokens: int
    conversation: str | None = None


Generate = Callable[[Sequence[Call]], list[str]]
Count = Callable[[Sequence[Turn]], int]


def words(count: int, seed: int) -> str:
    """So many words of English, from somewhere in this folder's own text."""
    text = Path(__file__).parent.with_name("README.md").read_text().split()
    start = random.Random(seed).randrange(len(text))
    return " ".join((text * (count // len(text) + 2))[start : start + count])


def of_length(tokens: int, count: Count, seed: int) -> str:
    """Text that makes a prompt of about `tokens` tokens, the template's own included."""
    low, high = 1, tokens
    while low < high:
        middle = (low + high + 1) // 2
        fits = count([Turn(role="user", content=words(middle, seed))]) <= tokens
        low, high = (middle, high) if fits else (low, middle - 1)
    return words(low, seed)


def mixed(requests: int, count: Count, *, sample: int = 0, scale: float = 1.0) -> list[Call]:
    """Requests whose prompts and completions spread evenly from the least to the most tokens.

    Each `sample` has other texts, so that no engine finds one in its cache, and the same lengths.
    """

    def spread(bounds: tuple[int, int]) -> list[int]:
        low, high = (max(8, round(bound * scale)) for bound in bounds)
        return [round(low + (high - low) * n / max(1, requests - 1)) for n in range(requests)]

    lengths = spread(NEW_TOKENS)
    random.Random(7).shuffle(lengths)
    calls = [
        Call(
            messages=(Turn(role="user", content=of_length(size, count, 100 * sample + n)),),
            tokens=new,
        )
        for n, (size, new) in enumerate(zip(spread(PROMPT_TOKENS), lengths, strict=True))
    ]
    random.Random(8).shuffle(calls)
    return calls


@dataclass(kw_only=True)
class Flow:
    """One query of CoLM: three drafts, a synthesis, three refinements. Its stages, in order."""

    number: int
    sample: int
    drafts: list[str]
    guidance: str = ""

    @property
    def question(self) -> str:
        text = QUESTIONS[self.number % len(QUESTIONS)].text
        return f"({self.sample}.{self.number}) {text}"  # another one in every sample

    @property
    def tokens(self) -> int:
        return QUESTIONS[self.number % len(QUESTIONS)].tokens

    def draft_calls(self) -> list[Call]:
        return [self._call(colm.draft(client, self.question), client) for client in CLIENTS]

    def synthesis_call(self) -> Call:
        pairs = zip(CLIENTS, self.drafts, strict=True)
        labelled = [colm.LabelledDraft(client, text) for client, text in pairs]
        messages = colm.synthesize(labelled, self.question)
        return Call(messages=messages, tokens=2 * self.tokens, conversation=f"{self.number}.server")

    def refine_calls(self) -> list[Call]:
        return [
            self._call(
                colm.refine(client, self.question, draft, self.guidance, relevant=True), client
            )
            for client, draft in zip(CLIENTS, self.drafts, strict=True)
        ]

    def _call(self, messages: tuple[Turn, ...], client: Participant) -> Call:
        name = f"{self.number}.{client.name}"
        return Call(messages=messages, tokens=self.tokens, conversation=name)


def run_flow(number: int, generate: Generate, sample: int) -> int:
    """A whole query; how many tokens were generated for it."""
    flow = Flow(number=number, sample=sample, drafts=[])
    flow.drafts = generate(flow.draft_calls())
    (flow.guidance,) = generate([flow.synthesis_call()])
    generate(flow.refine_calls())
    return flow.tokens * 8


def run_stages(queries: int, generate: Generate, sample: int) -> int:
    """The same queries, all of them stage by stage: as fits who takes one batch at a time."""
    flows = [Flow(number=number, sample=sample, drafts=[]) for number in range(queries)]
    drafts = generate([call for flow in flows for call in flow.draft_calls()])
    for flow in flows:
        flow.drafts = drafts[3 * flow.number : 3 * flow.number + 3]
    for flow, text in zip(flows, generate([f.synthesis_call() for f in flows]), strict=True):
        flow.guidance = text
    generate([call for flow in flows for call in flow.refine_calls()])
    return sum(flow.tokens * 8 for flow in flows)


@dataclass(frozen=True, kw_only=True)
class Refinement:
    """Three clients draft on one long question, and refine. The refining is what is timed."""

    question: str
    tokens: int

    def drafts(self) -> list[Call]:
        return [self._call(colm.draft(client, self.question), client) for client in CLIENTS]

    def refinements(self, drafts: Sequence[str]) -> list[Call]:
        note = words(60, 3)
        return [
            self._call(colm.refine(client, self.question, text, note, relevant=True), client)
            for client, text in zip(CLIENTS, drafts, strict=True)
        ]

    def _call(self, messages: tuple[Turn, ...], client: Participant) -> Call:
        return Call(messages=messages, tokens=self.tokens, conversation=client.name)
