"""`colm ask`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Console

from db.engine import connect
from tasks.settings import settings
from workers.asking import answer_or_raise, ask_and_follow
from workers.printing import print_json
from workers.show import answer_view


def run_ask(question: str, options: Mapping[str, Any], *, as_json: bool) -> None:
    """Ask, follow on standard error, print the answer on standard output."""
    engine = connect(settings().database_url)
    query_id = ask_and_follow(engine, question, options, Console(stderr=True))
    answer = answer_or_raise(query_id)
    if as_json:
        print_json(answer)
    else:
        Console().print(answer_view(answer))
