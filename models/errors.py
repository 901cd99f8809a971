"""The errors of CoLM, as a tree.

ColmError
  CallerError                 the caller's fault: never retried
    InvalidAsk                the question or an option of `ask` cannot be used
      TooLarge                a message is larger than the broker takes
    SettingsError             colm.toml or a COLM_* variable cannot be used
    UnknownQuery              no such query in the record
  QueryFailed                 the query ended without an answer; the reason is in the message
  NoConsumer                  a queue that the caller needs has no worker
  ClientsGone                 clients that an experiment started are not there any more
  ImageUnavailable            an image cannot be had from the site's image store
  BadMessage                  bytes or fields from the broker that cannot be used: dead-lettered
  EngineError                 a generation cannot be done; the step is recorded as failed
    PromptTooLong             the prompt and its completion do not fit the context
    DeadlineExceeded          the step's deadline passed
    Cancelled                 the request was withdrawn
    EndpointError             an HTTP endpoint refused or kept failing
    NoText                    the model ended without text, which is no answer
    ModelUnusable             the configured model cannot be loaded
    EngineLost                the engine is gone for good; restart its process
    SandboxUnusable           code cannot be confined on this machine; none of it was run
  TransientError              worth trying again: the broker or the database is away
    Overloaded                a queue is full and refuses new work
"""


class ColmError(Exception):
    """Something went wrong in CoLM."""


class CallerError(ColmError):
    """The request cannot be used as it is."""


class InvalidAsk(CallerError):
    """The question or an option of `ask` cannot be used."""


class TooLarge(InvalidAsk):
    """A message is larger than the broker takes."""


class SettingsError(CallerError):
    """colm.toml or a COLM_* variable cannot be used."""


class UnknownQuery(CallerError):
    """No such query is in the record; `colm queries` lists those that are."""


class QueryFailed(ColmError):
    """The query ended without an answer."""


class NoConsumer(ColmError):
    """A queue has no worker that listens to it."""


class ClientsGone(ColmError):
    """The clients that an experiment started did not start, or ended before it did."""


class ImageUnavailable(ColmError):
    """The site's image store does not have the image, or does not give it to this token."""


class BadMessage(ColmError):
    """A message from the broker cannot be used."""


class EngineError(ColmError):
    """The engine could not generate."""


class PromptTooLong(EngineError):
    """The prompt and its completion do not fit the model's context."""


class DeadlineExceeded(EngineError):
    """The deadline passed before the generation ended."""


class Cancelled(EngineError):
    """The generation was withdrawn before it ended."""


class EndpointError(EngineError):
    """The HTTP endpoint did not give a completion."""


class NoText(EngineError):
    """The model ended without text: it reasoned, called a tool, or wrote white space."""


class ModelUnusable(EngineError):
    """The configured model cannot be loaded."""


class EngineLost(EngineError):
    """The engine is gone for good; its process must be started again."""


class SandboxUnusable(EngineError):
    """Code cannot be confined on this machine; none of it was run."""


class TransientError(ColmError):
    """The broker or the database is away; the same call may succeed later."""


class Overloaded(TransientError):
    """A queue is full and refuses new work; nothing was accepted."""


def plainly(error: BaseException) -> str:
    """An unexpected error in words that any log and any database can hold, without its arguments.

    Those of an encoding error are the whole text, which may be a question.
    """
    return escaped(f"{type(error).__name__}: {error}")


def escaped(text: str) -> str:
    """`text` in ASCII, its other characters as Python escapes them."""
    return text.encode("ascii", "backslashreplace").decode()
