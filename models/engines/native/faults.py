"""Errors of third-party code: templates, tokenizers, model folders."""

from __future__ import annotations

from colm.models.errors import EngineError


def is_fault(error: BaseException) -> bool:
    """Whether it is an error; a panic of a library in Rust is one too, though Python takes it for
    the wish to end."""
    return isinstance(error, Exception) or type(error).__name__ == "PanicException"


def describe(error: BaseException) -> str:
    """An error in one line of at most 300 characters: the libraries' own go on for a page."""
    text = " ".join(str(error).split())[:300].rstrip(".")
    if text and isinstance(error, (OSError, ValueError, ImportError)):
        return text  # written for whoever reads it
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def failed(what: str, error: BaseException) -> EngineError:
    """The EngineError that stands for a fault; any EngineError as it is. Others are raised again,
    as they are no faults."""
    if isinstance(error, EngineError):
        return error
    if not is_fault(error):
        raise error
    return EngineError(f"{what}: {describe(error)}")
