"""What a generator needs of the site beside its engine: to tell of attempts, to fetch images."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from colm.models.messages import Step
from colm.tasks.broker.retry import retry_transient


def fetch_step_images(step: Step) -> dict[str, bytes]:
    """The bytes of every image that the step shows. Raises ImageUnavailable."""
    wanted = _shown_by(step)
    if not wanted:
        return {}
    from colm.tasks.images.client import fetch

    return retry_transient(lambda: fetch(wanted, step.image_token))


def refetch_step_images(step: Step) -> dict[str, bytes]:
    """The same for a recorded step, whose token is not in the record: with one of our own."""
    wanted = _shown_by(step)
    if not wanted:
        return {}
    from colm.tasks.images.client import fetch, read_token

    return fetch(wanted, read_token(wanted, datetime.now(UTC) + timedelta(minutes=5)))


def _shown_by(step: Step) -> list[str]:
    return sorted({name for turn in step.messages for name in turn.images})
