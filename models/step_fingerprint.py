"""Fingerprint of a step's inputs: steps with equal fingerprints have the same completion. Pure."""

from __future__ import annotations

import hashlib
import json

from colm.models.messages import Step


def content_key(step: Step) -> str:
    """Sha256 of participant, messages, sampling and choices.

    Query, round, act, index and deadline are not included. A sampled step without a seed is not
    repeatable: its step id is included.
    """
    sampled = step.sampling.temperature > 0 and not step.choices
    inputs = {
        "role": step.role,
        "participant": step.participant,
        "messages": [[turn.role, turn.content, *turn.images] for turn in step.messages],
        "sampling": step.sampling.model_dump(mode="json"),
        "choices": list(step.choices),
        "only": step.step_id if sampled and step.sampling.seed is None else None,
    }
    return hashlib.sha256(json.dumps(inputs, sort_keys=True).encode()).hexdigest()
