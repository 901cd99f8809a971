"""Messages that a stranger could send, from nearly right to anything at all, for hypothesis."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

from hypothesis import strategies as st
from kombu import Message

#: The queries that are open on the target, and those who take part in them.
QUERIES = tuple(f"query-{n:04}" for n in range(40))
CLIENTS = ("ada", "bo")
PARTICIPANTS = (*CLIENTS, "main")


class Sent(NamedTuple):
    """A message as the broker would deliver it."""

    exchange: str
    routing_key: str
    headers: Any
    content_type: Any
    content_encoding: Any
    body: bytes

    def as_delivered(self) -> Message:
        return Message(
            body=self.body,  # type: ignore[arg-type]  # bytes is what the broker gives
            headers=self.headers,
            content_type=self.content_type,
            content_encoding=self.content_encoding,
            delivery_info={"exchange": self.exchange, "routing_key": self.routing_key},
            accept={"application/json"},
        )


def mostly(
    usual: st.SearchStrategy[Any], rare: st.SearchStrategy[Any], once_in: int
) -> st.SearchStrategy[Any]:
    """`rare` once in so many times; `|` would draw both equally often."""
    return st.integers(1, once_in).flatmap(lambda n: rare if n == once_in else usual)


NASTY: st.SearchStrategy[Any] = st.sampled_from(
    [
        None, True, 0, -1, 2**63, 2**200, 1e308, -0.0, "", "\x00", "\ud800", "x" * 4_001,
        "\u202e\u0000", "null", [], {}, [[]], {"": None}, "1", "2026-01-01", "a" * 300_000,
        [0] * 1_000, {"__proto__": 1}, "' OR 1=1 --", "%s%n", "draft.ada", "../..",
    ]
)  # fmt: skip
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=True) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=12,
)
ANYTHING = NASTY | JSON

COMPLETION = {
    "text": "An answer.", "finish_reason": "stop", "prompt_tokens": 3, "completion_tokens": 2,
    "engine": "scripted", "model": "none", "mean_logprob": -0.1, "total_s": 0.5,
}  # fmt: skip
KEYS = st.fixed_dictionaries(
    {
        "query_id": mostly(st.sampled_from(QUERIES), st.sampled_from(["query-9999", "x"]), 20),
        "round": mostly(st.just(1), st.sampled_from([2, 0, 99]), 10),
        "act": st.sampled_from(["draft", "draft", "refine", "synthesize", "select"]),
        "participant": st.sampled_from(["ada", "ada", "ada", "bo", "main", "mallory"]),
        "index": mostly(st.just(0), st.just(1), 10),
    }
)
ENDS = st.builds(lambda text: {"completion": {**COMPLETION, "text": text}}, st.text(max_size=9)) | (
    st.sampled_from(
        [
            {"error": {"kind": "EngineError", "reason": "no"}},
            {"completion": COMPLETION, "error": {"kind": "x", "reason": "y"}},
        ]
    )
)


def changed(fields: dict[str, Any], path: list[str], value: Any, how: str) -> dict[str, Any]:
    """`fields` with the value at `path` replaced, removed or wrapped."""
    fields = dict(fields)
    name, *rest = path
    if rest and isinstance(fields.get(name), dict):
        fields[name] = changed(fields[name], rest, value, how)
    elif how == "remove":
        fields.pop(name, None)
    else:
        fields[name] = [fields.get(name), value] if how == "wrap" else value
    return fields


def mutated(base: st.SearchStrategy[dict[str, Any]]) -> st.SearchStrategy[dict[str, Any]]:
    names = ["query_id", "round", "act", "participant", "index", "schema_version", "worker",
             "completion", "error", "attempt_id", "kind", "surprise", "text", "prompt_tokens",
             "choice_logprobs", "mean_logprob", "finish_reason", "reason"]  # fmt: skip
    inner = st.sampled_from(["completion", "error"])
    name = st.sampled_from(names)
    path = st.tuples(name) | st.tuples(inner, name)
    change = st.tuples(path, ANYTHING, st.sampled_from(["replace", "remove", "wrap"]))
    changes = mostly(st.just([]), st.lists(change, min_size=1, max_size=3), 2)
    return st.builds(_mutate, base, changes)


def _mutate(fields: dict[str, Any], changes: list[Any]) -> dict[str, Any]:
    for path, value, how in changes:
        fields = changed(fields, list(path), value, how)
    return fields


SUBMISSIONS = mutated(st.builds(lambda key, end: {**key, "worker": "w", **end}, KEYS, ENDS))
ATTEMPTS = mutated(
    st.builds(
        lambda key, kind: {**key, "worker": "w", "attempt_id": "attempt-01", "kind": kind},
        KEYS,
        st.sampled_from(["returned", "alone"]),
    )
)
EMBEDS: st.SearchStrategy[Any] = st.sampled_from(
    [None, {}, {"callbacks": None}, {"callbacks": ["x"]}, {"chain": [{}]}]
)


def _enclosed(name: str, fields: Any, more: dict[str, Any], args: list[Any], embed: Any) -> Any:
    return [args, {name: fields, **more}, embed]


ENCLOSED = st.builds(
    _enclosed,
    st.sampled_from(["submission", "submission", "attempt", "step", "self"]),
    SUBMISSIONS | ATTEMPTS | ANYTHING,
    st.just({}) | st.dictionaries(st.text(max_size=6), JSON, max_size=1),
    st.just([]) | st.lists(JSON, max_size=1),
    EMBEDS,
)
#: Right in everything around it, so that what is inside is looked at.
PLAIN = mostly(
    st.builds(lambda s: [[], {"submission": s}, None], SUBMISSIONS),
    st.builds(lambda a: [[], {"attempt": a}, None], ATTEMPTS),
    5,
)


def _text(value: Any) -> bytes:
    try:
        return json.dumps(value).encode("utf-8", "surrogatepass")
    except (ValueError, RecursionError):
        return b"{}"


def _damaged(body: bytes, at: int, byte: int, cut: bool) -> bytes:
    at %= max(1, len(body))
    return body[:at] if cut else body[:at] + bytes([byte]) + body[at + 1 :]


GOOD = mostly(PLAIN, ENCLOSED, 4).map(_text)
BAD = (
    st.builds(_damaged, GOOD, st.integers(0, 5_000), st.integers(0, 255), st.booleans())
    | JSON.map(_text)
    | st.binary(max_size=60)
    | st.sampled_from([b"[" * 50_000, b"9" * 9_000, b'"' + b"a" * 9_000_000 + b'"', b""])
)
TASKS = st.sampled_from(
    ["colm.submit"] * 6 + ["colm.attempt"] * 2 + ["colm.ask", "colm.draft", "celery.map", "x"]
)


def _headers(task: str, known: Any, extra: dict[str, Any]) -> dict[str, Any]:
    return {"task": task, "id": known, "retries": 0, "timelimit": [None, None], **extra}


HEADERS = st.builds(
    _headers,
    TASKS,
    st.sampled_from(["some-task-01", "some-task-02", "query-0001.1.draft.bo.0"]) | st.text(),
    st.just({})
    | st.dictionaries(
        st.sampled_from(["eta", "expires", "shadow", "chord", "compression", "stamps", "retries",
                         "timelimit", "root_id", "kwargsrepr", "id", "task", "group", "lang"]),
        ANYTHING, max_size=2,
    ),
)  # fmt: skip
STRANGE = st.builds(
    Sent,
    exchange=st.sampled_from(["colm.drafts"] * 8 + ["colm.ask", "colm.steps", ""]),
    routing_key=st.sampled_from(["draft.ada", "draft.mallory", "ask", "#", ""]),
    headers=HEADERS | st.none() | st.dictionaries(st.text(), JSON, max_size=2),
    content_type=st.sampled_from(["application/json"] * 9 + ["application/x-python-serialize"]),
    content_encoding=st.sampled_from(["utf-8"] * 9 + ["binary", "utf-16", None]),
    body=mostly(GOOD, BAD, 2),
)
#: What a real client could send: it comes under a key that the broker lets it use.
ENVELOPED = st.builds(
    lambda key, inside, known: Sent(
        exchange="colm.drafts",
        routing_key=key,
        headers={"task": f"colm.{'attempt' if 'attempt' in inside[1] else 'submit'}", "id": known},
        content_type="application/json",
        content_encoding="utf-8",
        body=_text(inside),
    ),
    st.sampled_from(["draft.ada", "draft.ada", "draft.bo", "guidance.main", "draft.mallory"]),
    PLAIN,
    st.sampled_from(["some-task-01", "query-0001.1.draft.bo.0"]) | st.text(min_size=1),
)
MESSAGES = mostly(ENVELOPED, STRANGE, 4)
