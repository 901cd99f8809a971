"""What can be asked. `from colm.tasks import ask`, then `ask.delay("question").get()`.

Light to import: no torch, no SQLAlchemy, and settings are read at the first use, not here.
"""

if not __name__.startswith("colm."):
    raise ImportError("import colm.tasks: the folders of this repository are one package, colm")

from colm.tasks.cancellation import cancel
from colm.tasks.celery_app import app
from colm.tasks.evaluations import evaluate
from colm.tasks.queries import ask

__all__ = ["app", "ask", "cancel", "evaluate"]
