"""What can be asked. `from tasks import ask`, then `ask.delay("question").get()`.

Light to import: no torch, no SQLAlchemy, and settings are read at the first use, not here.
"""

from tasks.cancelling import cancel
from tasks.celery_app import app
from tasks.evaluations import evaluate
from tasks.queries import ask

__all__ = ["app", "ask", "cancel", "evaluate"]
