"""The errors of CoLM, as a tree.

ColmError
  CallerError                 the caller's fault: never retried
    InvalidAsk
      TooLarge
    SettingsError
    UnknownQuery
  QueryFailed
  NoConsumer
  ClientsGone
  ImageUnavailable
  BadMessage                  dead-lettered
  EngineError                 the step is recorded as failed
    PromptTooLong
    DeadlineExceeded
    Cancelled
    EndpointError
    NoText
    ModelUnusable
    EngineLost                the process ends and is restarted
    SandboxUnusable
  TransientError              retried
    Overloaded
"""


class ColmError(Exception):
    """Base class of CoLM's errors."""


class CallerError(ColmError):
    """The request is invalid."""


class InvalidAsk(CallerError):
    """The question or an option of `ask` is invalid."""


class TooLarge(InvalidAsk):
    """A message is larger than the broker's limit."""


class SettingsError(CallerError):
    """colm.toml or a COLM_* variable is invalid."""


class UnknownQuery(CallerError):
    """The record has no such query; `colm queries` lists all."""


class QueryFailed(ColmError):
    """The query ended without an answer; the message has the reason."""


class NoConsumer(ColmError):
    """A queue has no consumer."""


class ClientsGone(ColmError):
    """The clients of an experiment did not start, or ended too early."""


class ImageUnavailable(ColmError):
    """The site's image store does not have the image, or rejects the token."""


class BadMessage(ColmError):
    """A message from the broker is invalid."""


class EngineError(ColmError):
    """The engine failed to generate."""


class PromptTooLong(EngineError):
    """The prompt and its completion do not fit the model's context."""


class DeadlineExceeded(EngineError):
    """The step's deadline passed before the generation ended."""


class Cancelled(EngineError):
    """The generation was cancelled."""


class EndpointError(EngineError):
    """The HTTP endpoint refused the request or failed at every retry."""


class NoText(EngineError):
    """The completion has no text: only reasoning, a tool call, or white space."""


class ModelUnusable(EngineError):
    """The configured model cannot be loaded."""


class EngineLost(EngineError):
    """The engine failed for good; its process must be restarted."""


class SandboxUnusable(EngineError):
    """This machine cannot isolate code; nothing was run."""


class TransientError(ColmError):
    """The broker or the database is unavailable; the same call may succeed later."""


class Overloaded(TransientError):
    """A queue is full; nothing was accepted."""


def plainly(error: BaseException) -> str:
    """Type and message of an error in ASCII, without its arguments: those of an encoding error hold
    the whole text, which may be a question."""
    return escaped(f"{type(error).__name__}: {error}")


def escaped(text: str) -> str:
    """`text` in ASCII with Python's escapes."""
    return text.encode("ascii", "backslashreplace").decode()
