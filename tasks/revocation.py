"""Revoking is cancelling: `result.revoke()`, a group's, and `app.control.revoke(query_id)`.

Celery tells its workers to drop a message that they have not begun. An ask is begun at once and
goes on in the record, so that nothing would be stopped.
"""

from __future__ import annotations

from typing import Any, NoReturn

from celery.app.control import Control as CelerysControl


class Control(CelerysControl):
    """Celery's remote control, but for what it cannot do to a query."""

    def revoke(self, task_id: Any, *_args: Any, **_options: Any) -> None:
        """Have each query end as cancelled, begun or not; one that has ended stays as it is.

        Where it is to be terminated, and by which signal, makes no difference. Raises InvalidAsk,
        before anything is sent, for what is no query's id, and what `tasks.cancel.delay` raises.
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
                    f"{error}. Whoever may publish as 'control' can: colm cancel {query_id}"
                ) from error

    def revoke_by_stamped_headers(self, *_args: Any, **_options: Any) -> NoReturn:
        """No ask carries stamps."""
        from colm.models.errors import InvalidAsk

        raise InvalidAsk("an ask carries no stamps: revoke it by its id")
