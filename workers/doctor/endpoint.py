"""An OpenAI-compatible endpoint: whether it has the model, and what it does not take."""

from __future__ import annotations

import time
from collections.abc import Iterable

import httpx

from colm.models.engine_settings import EngineSettings
from colm.models.engines.base import GenerationRequest
from colm.models.engines.openai.connections import access_to, endpoint
from colm.models.engines.openai.engine import OpenAIEngine
from colm.models.engines.openai.request import SYSTEM
from colm.models.errors import ColmError, DeadlineExceeded, EngineError, NoText
from colm.models.messages import Sampling, Turn
from colm.models.urls import redact
from colm.workers.doctor.findings import Finding, ok, problem, warning

#: How long an endpoint may take to say which models it has, and to answer a question (seconds).
LISTS_WITHIN, ANSWERS_WITHIN = 10.0, 30.0
#: Statuses of a key that is wrong.
REFUSED = (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN)
#: Everything that a request can hold, in few tokens.
TURNS = (
    Turn(role="system", content="You reply with one word."),
    Turn(role="user", content="Say yes."),
)
SAMPLING = Sampling(max_new_tokens=16, temperature=0.7, top_p=0.9, stop=("\n\n\n",), seed=7)


def look_at_endpoint(about: str, engine: EngineSettings) -> Finding:
    """Whether the endpoint serves the model; it is asked one short question."""
    from colm.workers.participant.process import endpoint_secrets

    where = redact(str(engine.base_url))
    try:
        key, headers = endpoint_secrets(engine)
        served = _served(engine, key, headers)
        found = OpenAIEngine(engine, api_key=key, secret_headers=headers)
    except httpx.HTTPStatusError as error:
        do = "correct base_url or the key that api_key_env names"
        return problem(about, f"{where} answers {error.response.status_code}", do)
    except (ColmError, httpx.HTTPError) as error:
        return problem(about, f"{where}: {error}", "start the endpoint, or correct base_url")
    try:
        if served is not None and engine.model not in served:
            do = f"set model to one of: {', '.join(served[:10])}"
            return problem(about, f"{where} does not serve {engine.model!r}", do)
        return _asked(about, where, found)
    finally:
        found.close()


def _served(engine: EngineSettings, key: str | None, headers: dict[str, str]) -> list[str] | None:
    """The models that the endpoint lists; None where it keeps no such list."""
    reply = httpx.get(
        endpoint(str(engine.base_url), "/models"),
        **access_to(engine, key, headers),
        timeout=LISTS_WITHIN,
    )
    if reply.status_code in REFUSED:
        reply.raise_for_status()
    if not reply.is_success:
        return None
    try:
        return [str(model["id"]) for model in reply.json()["data"]]
    except (ValueError, LookupError, TypeError):
        return None


def _asked(about: str, where: str, engine: OpenAIEngine) -> Finding:
    """What came of a question, and what the endpoint did not take of it."""
    spared = engine.untaken
    request = GenerationRequest(
        request_id="doctor",
        messages=TURNS,
        sampling=SAMPLING,
        deadline=time.monotonic() + ANSWERS_WITHIN,
    )
    try:
        engine.submit(request).result()
    except NoText:
        pass  # so few tokens can all go into reasoning
    except DeadlineExceeded:
        told = f"{where} has not answered a question within {ANSWERS_WITHIN:.0f} s"
        return warning(about, told, "see whether it is busy, or still loads the model")
    except EngineError as error:
        do = "if that does not pass: correct model, base_url, omit or extra_body of the engine"
        return problem(about, f"{where}: {error}", do)
    told = f"{where} serves {engine.info.model}"
    if refused := sorted(engine.untaken - spared):
        told += f"; it does not take {', '.join(refused)}"
        return warning(about, told, f"each process finds that out by itself; or set {_do(refused)}")
    return ok(about, told)


def _do(refused: Iterable[str]) -> str:
    """The settings with which nothing is refused."""
    omitted = [f'"{field}"' for field in refused if field not in (SYSTEM, "max_tokens")]
    return ", ".join(
        [
            *([f"omit = [{', '.join(omitted)}]"] if omitted else []),
            *(['max_tokens_field = "max_completion_tokens"'] if "max_tokens" in refused else []),
            *(["system_role = false"] if SYSTEM in refused else []),
        ]
    )
