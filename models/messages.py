"""Every value that crosses a process boundary, validated on the way in.

All models are frozen and refuse unknown fields. Times are timezone-aware UTC datetimes, durations
are seconds, lengths are counted in the unit that the field names. A message that does not validate
is a `BadMessage` for whoever received it: it is recorded and dead-lettered, never guessed at.
"""

from __future__ import annotations

import hashlib
from datetime import datetime
from typing import Annotated, Any, Final, Literal, Self, TypeVar

from pydantic import (
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)

from colm.models.errors import BadMessage
from colm.models.texts import mended

#: Raised with every incompatible change of a message on the wire.
SCHEMA_VERSION: Final = 1

MAX_QUESTION_CHARS = 32_000
MAX_COMPLETION_CHARS = 200_000
MAX_REASON_CHARS = 4_000
MAX_TOKENS = 2**31 - 1
MAX_WORKER_CHARS = 200
#: Clients that one query may name.
MAX_CLIENTS = 10_000

Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,39}$")]
QueryId = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{7,63}$")]
Seconds = Annotated[float, Field(ge=0, le=10_000_000)]
Role = Literal["client", "server"]
RunId = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")]
#: What one generation is for. docs/glossary.md says who is asked for which.
Act = Literal[
    "select", "draft", "synthesize", "refine", "plan", "solve", "aggregate", "judge", "check"
]
#: Overnight work waits while interactive work does, though never for ever.
Lane = Literal["interactive", "overnight"]


def _mended(text: Any) -> Any:
    return mended(text) if isinstance(text, str) else text


#: What a model or a worker wrote. No database stores NUL or half a character, and a completion is
#: not lost for one.
ForeignText = Annotated[str, BeforeValidator(_mended)]


class Message(BaseModel):
    """A frozen value that refuses fields it does not know."""

    # What cannot be used may be a password or a prompt: no error shows it.
    model_config = ConfigDict(
        frozen=True, extra="forbid", allow_inf_nan=False, hide_input_in_errors=True
    )


#: What an answer may be chosen from: so many continuations, and how long each is (characters).
MAX_CHOICES = 32
Choice = Annotated[str, Field(min_length=1, max_length=200)]

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
#: The sha256 of an image's bytes. Messages carry this; the bytes lie in the site's image store.
ImageId = Sha256


class Turn(Message):
    """One turn of a chat."""

    role: Literal["system", "user", "assistant"]
    content: str = Field(max_length=400_000)
    #: What it shows beside its words, before them.
    images: tuple[ImageId, ...] = Field(default=(), max_length=16)


class Sampling(Message):
    """How a completion is drawn. Temperature 0 is greedy; `seed` makes the draw repeatable."""

    max_new_tokens: int = Field(default=256, ge=1, le=32_768)
    temperature: float = Field(default=0.7, ge=0.0, le=5.0)
    top_p: float = Field(default=1.0, gt=0.0, le=1.0)
    stop: tuple[Annotated[str, Field(min_length=1, max_length=100)], ...] = Field(
        default=(), max_length=16
    )
    seed: int | None = Field(default=None, ge=0, lt=2**63)


class Participant(Message):
    """A client or a server as one query sees it: who it is and how it samples."""

    name: Name
    role: Role
    persona: str = Field(default="", max_length=4_000)
    domain: str = Field(default="", max_length=400)
    sampling: Sampling = Sampling()
    #: Whether its model takes images.
    sees: bool = False
    #: Whether it is told what others saw, where it does not see itself.
    reads_descriptions: bool = False


class Deadlines(Message):
    """How long each stage, and the whole query, may take (seconds from the stage's first step)."""

    select: float = Field(default=60.0, gt=0, le=86_400)
    draft: float = Field(default=120.0, gt=0, le=86_400)
    synthesize: float = Field(default=180.0, gt=0, le=86_400)
    refine: float = Field(default=120.0, gt=0, le=86_400)
    plan: float = Field(default=120.0, gt=0, le=86_400)
    solve: float = Field(default=180.0, gt=0, le=86_400)
    aggregate: float = Field(default=180.0, gt=0, le=86_400)
    judge: float = Field(default=120.0, gt=0, le=86_400)
    check: float = Field(default=60.0, gt=0, le=86_400)
    query: float = Field(default=900.0, gt=0, le=604_800)


class AskRequest(Message):
    """The row's place in its query's chain (`colm.db.integrity.hash_chain`);

    null before migration 0003.
    """

    question: str = Field(min_length=1, max_length=MAX_QUESTION_CHARS)
    strategy: Name = "colm"
    clients: tuple[Name, ...] | None = Field(default=None, min_length=1, max_length=MAX_CLIENTS)
    server: Name | None = None
    seed: int | None = Field(default=None, ge=0, lt=2**63)
    max_new_tokens: int | None = Field(default=None, ge=1, le=32_768)
    temperature: float | None = Field(default=None, ge=0.0, le=5.0)
    deadline: float | None = Field(default=None, gt=0, le=604_800)
    lane: Lane = "interactive"
    run: RunId | None = None
    #: Images that lie in the site's store. A caller gives paths or bytes to `ask`, not these.
    images: tuple[ImageId, ...] = Field(default=(), max_length=16)
    options: dict[str, Any] = {}

    @model_validator(mode="after")
    def _check(self) -> Self:
        if not self.question.strip():
            raise ValueError("question is empty")
        if "\x00" in self.question:
            raise ValueError("question holds a NUL character, which no database stores")
        if self.clients is not None and len(set(self.clients)) != len(self.clients):
            raise ValueError("clients names the same client twice")
        return self


class Query(Message):
    """A caller's request as recorded: every name resolved, every default filled in."""

    query_id: QueryId
    question: str
    strategy: Name
    options: dict[str, Any]
    clients: tuple[Participant, ...]
    server: Participant | None
    deadlines: Deadlines
    seed: int = Field(ge=0, lt=2**63)
    asked_at: AwareDatetime
    lane: Lane = "interactive"
    #: The evaluation run that asked it. Queries of one run share equal steps.
    run: RunId | None = None
    images: tuple[ImageId, ...] = ()

    def participant(self, name: str) -> Participant:
        """The participant called `name`; KeyError if the query has none."""
        everyone = {p.name: p for p in (*self.clients, self.server) if p is not None}
        return everyone[name]


class StepKey(Message):
    """Names one generation for ever; unique in the record, whatever is delivered twice."""

    query_id: QueryId
    round: int = Field(ge=1, le=64)
    act: Act
    participant: Name
    index: int = Field(default=0, ge=0, le=4_096)

    @property
    def step_id(self) -> str:
        return f"{self.query_id}.{self.round}.{self.act}.{self.participant}.{self.index}"


class Step(StepKey):
    """One generation asked of one participant: the message that goes to its queue."""

    schema_version: Literal[1] = SCHEMA_VERSION
    role: Role
    messages: tuple[Turn, ...] = Field(min_length=1, max_length=64)
    sampling: Sampling
    prompt_version: str = Field(max_length=40)
    deadline_at: AwareDatetime
    #: Where not empty nothing is drawn: the completion is the most likely of these continuations,
    #: and its `choice_logprobs` say how likely each is.
    choices: tuple[Choice, ...] = Field(default=(), max_length=MAX_CHOICES)
    lane: Lane = "interactive"
    #: With it the participant fetches the images of its turns; made when the step is sent.
    image_token: str = Field(default="", max_length=8_000)
    #: It may have killed a worker before: nothing else may run beside it.
    alone: bool = False

    @property
    def key(self) -> StepKey:
        return StepKey.model_validate(self.model_dump(include=set(StepKey.model_fields)))


class Completion(Message):
    """Text out of an engine, with what it cost and what made it."""

    text: ForeignText = Field(max_length=MAX_COMPLETION_CHARS)
    #: What the model thought before it answered: recorded, and shown to nobody who is asked.
    thought: ForeignText = Field(default="", max_length=MAX_COMPLETION_CHARS)
    finish_reason: Literal["stop", "length"]
    prompt_tokens: int = Field(ge=0, le=MAX_TOKENS)
    completion_tokens: int = Field(ge=0, le=MAX_TOKENS)
    cached_tokens: int = Field(default=0, ge=0, le=MAX_TOKENS)  # prompt tokens with reused KV
    queued_s: Seconds = 0.0  # submit to the start of prefill
    first_token_s: Seconds = 0.0  # start of prefill to the first token
    total_s: Seconds = 0.0  # submit to the end
    batch_size: int = Field(default=1, ge=1, le=MAX_TOKENS)  # the largest batch it shared
    engine: str = Field(max_length=100)
    model: str = Field(max_length=400)
    dtype: str = Field(default="", max_length=40)
    device: str = Field(default="", max_length=80)
    adapter: Sha256 | None = None  # of the LoRA adapter's files (`colm.models.adapters`)
    seed: int | None = Field(default=None, ge=0, lt=2**63)
    mean_logprob: float | None = None  # natural log, per completion token, of the drawn tokens
    #: Natural log of the likelihood of each of `Step.choices`, summed over its tokens.
    choice_logprobs: dict[Choice, float] | None = Field(default=None, max_length=MAX_CHOICES)


class StepError(Message):
    """Why a step has no completion."""

    kind: ForeignText = Field(max_length=100)
    reason: ForeignText = Field(max_length=MAX_REASON_CHARS)


class Submission(StepKey):
    """What a participant sends back for a step: a completion, or the reason that there is none."""

    schema_version: Literal[1] = SCHEMA_VERSION
    worker: str = Field(max_length=MAX_WORKER_CHARS)
    completion: Completion | None = None
    error: StepError | None = None

    @model_validator(mode="after")
    def _one_of_two(self) -> Self:
        if (self.completion is None) == (self.error is None):
            raise ValueError("a submission carries either a completion or an error")
        return self


class Attempt(StepKey):
    """What a participant tells of a step that may have killed a worker.

    `returned`: it was delivered again, and is handed back for the coordinators to ask anew.
    `alone`: it is about to be run with nothing beside it.
    """

    schema_version: Literal[1] = SCHEMA_VERSION
    attempt_id: str = Field(min_length=8, max_length=100)
    kind: Literal["returned", "alone"]
    worker: str = Field(max_length=MAX_WORKER_CHARS)


class Spent(Message):
    """What one participant generated for one act of a query: a line of the cost ledger."""

    participant: Name
    role: Role
    act: Act
    calls: int
    prompt: int
    completion: int


class Tokens(Message):
    """Token counts of everything a participant generated in a query."""

    prompt: int = 0
    completion: int = 0


class ClientAnswer(Message):
    """One client's way through a query.

    `status`: "refined" (the answer is refined with guidance), "drafted" (a draft without guidance),
    "failed" (no answer; `reason` says why), "idle" (never asked).
    """

    status: Literal["refined", "drafted", "failed", "idle"]
    draft: str | None = None
    refined: str | None = None
    reason: str | None = None
    tokens: Tokens = Tokens()
    seconds: float = 0.0

    @property
    def text(self) -> str | None:
        return self.refined if self.refined is not None else self.draft


class Guidance(Message):
    """What the server told the clients in one round, and whose drafts it had read."""

    round: int
    text: str
    server: str
    drafts_of: tuple[str, ...]
    tokens: Tokens = Tokens()
    seconds: float = 0.0


class Answer(Message):
    """What ended a query: the documented result of `tasks.ask`.

    `degraded` is true when a stage went on without someone or something; `notes` say what and why.
    """

    query_id: QueryId
    strategy: str
    status: Literal["answered", "failed"]
    answer: str | None
    chosen: str | None = None
    chosen_because: str | None = None
    reason: str | None = None
    clients: dict[str, ClientAnswer] = {}
    guidance: tuple[Guidance, ...] = ()
    selected: tuple[str, ...] | None = None
    rounds: int = 0
    degraded: bool = False
    notes: tuple[str, ...] = ()
    tokens: Tokens = Tokens()
    #: The cost ledger, by participant and act; what a step without a completion cost is not known.
    ledger: tuple[Spent, ...] = ()
    #: What the strategy has to tell of its way, as data; docs/strategies.md says what.
    detail: dict[str, Any] = {}
    seconds: float = 0.0
    asked_at: AwareDatetime
    ended_at: AwareDatetime


M = TypeVar("M", bound=Message)


def decode(kind: type[M], data: object, *, what: str) -> M:
    """`data` as a message of `kind`; BadMessage names each wrong field, never its value."""
    try:
        return (
            kind.model_validate_json(data)
            if isinstance(data, (str, bytes))
            else (kind.model_validate(data, strict=False))
        )
    except ValidationError as error:
        # Not `from error`: pydantic shows the values, and a log shows what a traceback shows.
        raise BadMessage(f"{what} cannot be used: {explain(error)}") from None


def explain(error: ValidationError) -> str:
    """One line that names every wrong field and what is wrong with it."""
    faults = []
    for fault in error.errors(include_url=False, include_input=False):
        field = ".".join(str(part) for part in fault["loc"])
        text = fault["msg"].removeprefix("Value error, ")
        faults.append(f"{field}: {text}" if field else text)
    return "; ".join(faults)[:MAX_REASON_CHARS]


def derive_seed(*parts: object) -> int:
    """A seed below 2**63 that depends on all of `parts` and on nothing else."""
    digest = hashlib.sha256("\x1f".join(str(part) for part in parts).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def seconds_between(start: datetime, end: datetime) -> float:
    return max(0.0, round((end - start).total_seconds(), 6))
