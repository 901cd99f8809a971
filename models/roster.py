"""The participants of a site, and the resolution of a request to a query. Pure."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from pydantic import BaseModel, Field, TypeAdapter, ValidationError

from colm.models.errors import InvalidAsk
from colm.models.messages import (
    AskRequest,
    Deadlines,
    Message,
    Participant,
    Query,
    QueryId,
    derive_seed,
    explain,
)
from colm.models.strategies import STRATEGIES
from colm.models.vision import check_vision_support

_QUERY_ID: TypeAdapter[str] = TypeAdapter(QueryId)


class Roster(Message):
    """The clients and servers of a site, its deadlines, and its defaults for each strategy."""

    clients: dict[str, Participant]
    servers: dict[str, Participant]
    deadlines: Deadlines = Deadlines()
    #: Default options by strategy.
    defaults: dict[str, dict[str, Any]] = Field(default_factory=dict)


def make_request(question: str, options: Mapping[str, Any]) -> AskRequest:
    """A validated request from the keyword arguments of `ask`, its own and the strategy's.

    Runs in the caller's process: checks everything that needs no roster. Raises InvalidAsk.
    """
    if "question" in options:
        raise InvalidAsk("invalid request: question is given twice")
    own = {k: v for k, v in options.items() if k in AskRequest.model_fields and k != "options"}
    rest = {k: v for k, v in options.items() if k not in own}
    rest = (
        {**rest.pop("options", {}), **rest} if isinstance(rest.get("options", {}), dict) else rest
    )
    try:
        request = AskRequest.model_validate({"question": question, "options": rest, **own})
    except ValidationError as error:
        raise InvalidAsk(f"invalid request: {explain(error)}") from error
    check_options(request.strategy, rest)
    return request


def check_query_id(query_id: str) -> None:
    """Raises InvalidAsk for an invalid id."""
    try:
        _QUERY_ID.validate_python(query_id)
    except ValidationError as error:
        raise InvalidAsk(f"invalid request: query_id: {explain(error)}") from error


def check_options(strategy: str, options: Mapping[str, Any]) -> None:
    """Raises InvalidAsk for an unknown strategy or option, with the nearest valid name."""
    if strategy not in STRATEGIES:
        raise InvalidAsk(f"unknown strategy {strategy!r}{nearest(strategy, STRATEGIES)}")
    kind: type[BaseModel] = STRATEGIES[strategy].options
    for name in options:
        if name not in kind.model_fields:
            valid = [
                *kind.model_fields,
                *(f for f in AskRequest.model_fields if f not in ("options", "question")),
            ]
            raise InvalidAsk(f"strategy {strategy!r} has no option {name!r}{nearest(name, valid)}")
    try:
        kind.model_validate(dict(options))
    except ValidationError as error:
        raise InvalidAsk(f"strategy {strategy!r} cannot use {explain(error)}") from error


def resolve(request: AskRequest, roster: Roster, query_id: str, now: datetime) -> Query:
    """The query of `request` on this site, with all names resolved and defaults filled in.

    Raises InvalidAsk for an invalid id, unknown names, or participants that the strategy lacks.
    """
    check_query_id(query_id)
    options = {**roster.defaults.get(request.strategy, {}), **request.options}
    check_options(request.strategy, options)
    names = request.clients if request.clients is not None else tuple(roster.clients)
    clients = tuple(_find(name, roster.clients, "client") for name in names)
    server = next(iter(roster.servers.values()), None)
    if request.server is not None:
        server = _find(request.server, roster.servers, "server")
    if isinstance(checker := options.get("checker"), str):
        _find(checker, roster.servers, "server")  # not a participant, but steps go to its queue
    deadlines = roster.deadlines
    if request.deadline is not None:
        deadlines = deadlines.model_copy(update={"query": request.deadline})
    query = Query(
        query_id=query_id,
        question=request.question,
        strategy=request.strategy,
        options=options,
        clients=tuple(_adjust(c, request) for c in clients),
        server=_adjust(server, request) if server else None,
        deadlines=deadlines,
        seed=request.seed if request.seed is not None else derive_seed(query_id),
        asked_at=now,
        lane=request.lane,
        run=request.run,
        images=request.images,
    )
    STRATEGIES[request.strategy].check(query)
    check_vision_support(query)
    return query


def nearest(name: str, valid: Iterable[str]) -> str:
    """The end of an error message: the closest valid name, and all valid names."""
    names = sorted(valid)
    close = difflib.get_close_matches(name, names, n=1)
    hint = f"; did you mean {close[0]!r}?" if close else ""
    return f"{hint} (there {'is' if len(names) == 1 else 'are'}: {', '.join(names) or 'none'})"


def _find(name: str, participants: Mapping[str, Participant], role: str) -> Participant:
    if name not in participants:
        raise InvalidAsk(f"unknown {role} {name!r}{nearest(name, participants)}")
    return participants[name]


def _adjust(participant: Participant, request: AskRequest) -> Participant:
    sampling = {"max_new_tokens": request.max_new_tokens, "temperature": request.temperature}
    update = {key: value for key, value in sampling.items() if value is not None}
    if not update:
        return participant
    return participant.model_copy(
        update={"sampling": participant.sampling.model_copy(update=update)}
    )
