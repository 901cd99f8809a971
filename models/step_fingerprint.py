"""What a generation depends on: steps of equal content have the same completion. Pure."""

from __future__ import annotations

import hashlib
import json

from colm.models.messages import Step


def content_key(step: Step, adapter: str | None = None) -> str:
    """A digest of who is asked what, and how it is drawn; of nothing else.

    `adapter`: the SHA-256 of the participant's adapter, or its name where its files are elsewhere.
    Not part of it are the query, the round, the act, the index and the deadline. Two draws of one
    prompt differ by their seeds; where there is no seed nothing is repeatable, and the step itself
    is its content.
    """
    drawn = step.sampling.temperature > 0 and not step.choices
    told = {
        "role": step.role,
        "participant": step.participant,
        "messages": [[turn.role, turn.content, *turn.images] for turn in step.messages],
        "sampling": step.sampling.model_dump(mode="json"),
        "choices": list(step.choices),
        "only": step.step_id if drawn and step.sampling.seed is None else None,
    }
    if adapter is not None:  # else the keys of a run from before there were adapters stay valid
        told["adapter"] = adapter
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()
