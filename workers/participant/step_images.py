"""Fetching of the images that a step shows."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from colm.models.messages import Step
from colm.tasks.broker.retry import retry_transient


def fetch_step_images(step: Step) -> dict[str, bytes]:
    """The bytes of every image of the step, by id. Raises ImageUnavailable."""
    image_ids = _images_of(step)
    if not image_ids:
        return {}
    from colm.tasks.images.client import fetch

    return retry_transient(lambda: fetch(image_ids, step.image_token))


def refetch_step_images(step: Step) -> dict[str, bytes]:
    """The images of a recorded step, with a new token: the record holds none."""
    image_ids = _images_of(step)
    if not image_ids:
        return {}
    from colm.tasks.images.client import fetch, read_token

    return fetch(image_ids, read_token(image_ids, datetime.now(UTC) + timedelta(minutes=5)))


def _images_of(step: Step) -> list[str]:
    return sorted({name for turn in step.messages for name in turn.images})
