"""The tasks that callers send: `from colm.tasks import ask; ask.delay("question").get()`.

Imports neither torch nor SQLAlchemy; settings are read at the first use.
"""

if not __name__.startswith("colm."):
    raise ImportError("import colm.tasks: the folders of this repository are one package, colm")

from colm.tasks.cancellation import cancel
from colm.tasks.celery_app import app
from colm.tasks.evaluations import evaluate
from colm.tasks.queries import ask

__all__ = ["app", "ask", "cancel", "evaluate"]
