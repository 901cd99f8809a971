"""`result.revoke()`, a group's, and `app.control.revoke(query_id)` cancel the query.

Celery's own revoke only drops messages that no worker has begun; an ask is begun at once.
"""

from __future__ import annotations

from typing import Any, NoReturn

from celery.app.control import Control as CelerysControl


class Control(CelerysControl):
    """Celery's remote control, with a `revoke` that cancels queries."""

    def revoke(self, task_id: Any, *_args: Any, **_options: Any) -> None:
        """Cancel each query; `terminate` and `signal` are ignored.

        Raises InvalidAsk for an invalid id, before anything is sent, and what `tasks.cancel.delay`
        raises.
        """
        from colm.models.errors import SettingsError
        from colm.models.roster import check_query_id
        from colm.tasks.cancellation import cancel

        query_ids = [task_id] if isinstance(task_id, str) else list(task_id)
        for query_id in query_ids:
            check_query_id(query_id)
        for query_id in query_ids:
            try:
                cancel.delay(query_id, "revoked")
            except SettingsError as error:
                raise SettingsError(
                    f"{error}. A user that may publish as 'control' can: colm cancel {query_id}"
                ) from error

    def revoke_by_stamped_headers(self, *_args: Any, **_options: Any) -> NoReturn:
        """Raises InvalidAsk: an ask carries no stamps."""
        from colm.models.errors import InvalidAsk

        raise InvalidAsk("an ask carries no stamps: revoke it by its id")
