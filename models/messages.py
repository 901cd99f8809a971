"""Messages between processes, as frozen pydantic models that reject unknown fields.

Times are timezone-aware UTC datetimes, durations are seconds, lengths have the unit in the field's
name. A message that does not validate raises `BadMessage`: it is recorded and dead-lettered.
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
from colm.models.texts import replace_unstorable

#: Increased with every incompatible change of a message.
SCHEMA_VERSION: Final = 1

MAX_QUESTION_CHARS = 32_000
MAX_COMPLETION_CHARS = 200_000
MAX_REASON_CHARS = 4_000
MAX_TOKENS = 2**31 - 1
MAX_WORKER_CHARS = 200
MAX_CLIENTS = 10_000

Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,39}$")]
QueryId = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{7,63}$")]
Seconds = Annotated[float, Field(ge=0, le=10_000_000)]
Role = Literal["client", "server"]
RunId = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")]
#: Purpose of a step (docs/glossary.md).
Act = Literal[
    "select", "draft", "synthesize", "refine", "plan", "solve", "aggregate", "judge", "check"
]
#: Queue priority; overnight steps wait for interactive ones, but are not starved.
Lane = Literal["interactive", "overnight"]


def _storable(text: Any) -> Any:
    return replace_unstorable(text) if isinstance(text, str) else text


#: Untrusted text, with U+FFFD for characters that no database stores.
ForeignText = Annotated[str, BeforeValidator(_storable)]


class Message(BaseModel):
    """Base class: frozen, and closed to unknown fields."""

    # Errors hide the input: it may be a password or a prompt.
    model_config = ConfigDict(
        frozen=True, extra="forbid", allow_inf_nan=False, hide_input_in_errors=True
    )


MAX_CHOICES = 32
Choice = Annotated[str, Field(min_length=1, max_length=200)]

#: The sha256 of an image's bytes, which are in the site's image store.
ImageId = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class Turn(Message):
    role: Literal["system", "user", "assistant"]
    content: str = Field(max_length=400_000)
    #: Images before the text.
    images: tuple[ImageId, ...] = Field(default=(), max_length=16)


class Sampling(Message):
    """Sampling parameters. Temperature 0 is greedy; `seed` makes sampling repeatable."""

    max_new_tokens: int = Field(default=256, ge=1, le=32_768)
    temperature: float = Field(default=0.7, ge=0.0, le=5.0)
    top_p: float = Field(default=1.0, gt=0.0, le=1.0)
    stop: tuple[Annotated[str, Field(min_length=1, max_length=100)], ...] = Field(
        default=(), max_length=16
    )
    seed: int | None = Field(default=None, ge=0, lt=2**63)


class Participant(Message):
    """A client or a server, as configured for one query."""

    name: Name
    role: Role
    persona: str = Field(default="", max_length=4_000)
    domain: str = Field(default="", max_length=400)
    sampling: Sampling = Sampling()
    #: Whether its model takes images.
    sees: bool = False
    #: Whether it reads the drafts of clients that see, if it does not.
    reads_descriptions: bool = False


class Deadlines(Message):
    """Seconds for each stage, from its first step, and for the whole query."""

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
    """The arguments of `ask`; None is the site's default."""

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
    #: Ids in the site's image store; `ask` takes paths or bytes and uploads them.
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
    """A request with all names resolved and defaults filled in, as recorded."""

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
    #: The evaluation run; queries of one run share equal steps.
    run: RunId | None = None
    images: tuple[ImageId, ...] = ()

    def participant(self, name: str) -> Participant:
        """The participant called `name`; KeyError if the query has none."""
        everyone = {p.name: p for p in (*self.clients, self.server) if p is not None}
        return everyone[name]


class StepKey(Message):
    """Identity of a step: unique in the record, and the key of idempotency."""

    query_id: QueryId
    round: int = Field(ge=1, le=64)
    act: Act
    participant: Name
    index: int = Field(default=0, ge=0, le=4_096)

    @property
    def step_id(self) -> str:
        return f"{self.query_id}.{self.round}.{self.act}.{self.participant}.{self.index}"


class Step(StepKey):
    """One generation for one participant: the message on its queue."""

    schema_version: Literal[1] = SCHEMA_VERSION
    role: Role
    messages: tuple[Turn, ...] = Field(min_length=1, max_length=64)
    sampling: Sampling
    prompt_version: str = Field(max_length=40)
    deadline_at: AwareDatetime
    #: If not empty, nothing is sampled: the completion is the likeliest of these continuations, and
    #: has the `choice_logprobs` of all.
    choices: tuple[Choice, ...] = Field(default=(), max_length=MAX_CHOICES)
    lane: Lane = "interactive"
    #: Access token for the images of its turns, made at dispatch.
    image_token: str = Field(default="", max_length=8_000)
    #: Isolated: no other step runs beside it, because it may have killed a worker.
    alone: bool = False

    @property
    def key(self) -> StepKey:
        return StepKey.model_validate(self.model_dump(include=set(StepKey.model_fields)))


class Completion(Message):
    """Text from an engine, with token counts, timings and the engine's description."""

    text: ForeignText = Field(max_length=MAX_COMPLETION_CHARS)
    #: Reasoning before the answer: recorded, but never part of a prompt.
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
    seed: int | None = Field(default=None, ge=0, lt=2**63)
    mean_logprob: float | None = None  # natural log, mean over the sampled tokens
    #: Log-likelihood (natural) of each of `Step.choices`, summed over its tokens.
    choice_logprobs: dict[Choice, float] | None = Field(default=None, max_length=MAX_CHOICES)


class StepError(Message):
    kind: ForeignText = Field(max_length=100)
    reason: ForeignText = Field(max_length=MAX_REASON_CHARS)


class Submission(StepKey):
    """A participant's reply to a step: a completion or an error."""

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
    """A participant's notice about a step that may have killed a worker.

    `returned`: it was redelivered, and is returned to the coordinators for a decision. `alone`: its
    isolated run starts now.
    """

    schema_version: Literal[1] = SCHEMA_VERSION
    attempt_id: str = Field(min_length=8, max_length=100)
    kind: Literal["returned", "alone"]
    worker: str = Field(max_length=MAX_WORKER_CHARS)


class Spent(Message):
    """A line of the cost ledger: tokens of one participant for one act of a query."""

    participant: Name
    role: Role
    act: Act
    calls: int
    prompt: int
    completion: int


class Tokens(Message):
    prompt: int = 0
    completion: int = 0


class ClientAnswer(Message):
    """One client's part in an answer.

    `status`: "refined" (refined with guidance), "drafted" (a draft without guidance), "failed" (no
    answer, with a `reason`), "idle" (no steps).
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
    """The server's guidance in one round, with the authors of the drafts that it read."""

    round: int
    text: str
    server: str
    drafts_of: tuple[str, ...]
    tokens: Tokens = Tokens()
    seconds: float = 0.0


class Answer(Message):
    """The end of a query: the documented result of `tasks.ask`.

    `degraded` is true if a stage went on without some of its steps; `notes` have the reasons.
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
    #: Costs by participant and act; steps without a completion are not counted.
    ledger: tuple[Spent, ...] = ()
    #: Data of the strategy (docs/reference/strategies.md).
    detail: dict[str, Any] = {}
    seconds: float = 0.0
    asked_at: AwareDatetime
    ended_at: AwareDatetime


M = TypeVar("M", bound=Message)


def decode(kind: type[M], data: object, *, what: str) -> M:
    """`data` as a message of `kind`. Raises BadMessage, with the invalid fields but no values."""
    try:
        return (
            kind.model_validate_json(data)
            if isinstance(data, (str, bytes))
            else (kind.model_validate(data, strict=False))
        )
    except ValidationError as error:
        # Not `from error`: pydantic's traceback shows the values.
        raise BadMessage(f"{what} cannot be used: {explain(error)}") from None


def explain(error: ValidationError) -> str:
    """All errors in one line, as `field: message`."""
    lines = []
    for detail in error.errors(include_url=False, include_input=False):
        field = ".".join(str(part) for part in detail["loc"])
        text = detail["msg"].removeprefix("Value error, ")
        lines.append(f"{field}: {text}" if field else text)
    return "; ".join(lines)[:MAX_REASON_CHARS]


def derive_seed(*parts: object) -> int:
    """A seed below 2**63: a hash of `parts`."""
    digest = hashlib.sha256("\x1f".join(str(part) for part in parts).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def seconds_between(start: datetime, end: datetime) -> float:
    return max(0.0, round((end - start).total_seconds(), 6))
