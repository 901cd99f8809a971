"""The quickstart model without an end of turn, for completions of fixed length."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from colm.workers.quickstart_model import quickstart_folder

#: An added token of the vocabulary, used only for notebooks in training.
NEVER_DRAWN = "<empty_output>"


@contextmanager
def endless_weights(cache: Path = Path("~/.cache/colm")) -> Iterator[Path]:
    """A copy of the quickstart model whose end-of-turn token is one that chats never generate.

    Every completion has exactly the requested length, for all systems that read the folder.
    """
    source = quickstart_folder(cache.expanduser())
    with tempfile.TemporaryDirectory(prefix="colm-endless-") as name:
        folder = Path(name)
        for path in source.iterdir():
            (folder / path.name).symlink_to(path)
        ending = _token_id(source)
        _change(folder / "tokenizer_config.json", eos_token=NEVER_DRAWN)
        for file in ("config.json", "generation_config.json"):
            _change(folder / file, eos_token_id=ending)
        yield folder


def _token_id(folder: Path) -> int:
    tokens = json.loads((folder / "tokenizer.json").read_text())["added_tokens"]
    return next(int(token["id"]) for token in tokens if token["content"] == NEVER_DRAWN)


def _change(path: Path, **values: Any) -> None:
    """Replaces the link by a changed copy."""
    content = json.loads(path.read_text()) | values
    path.unlink()
    path.write_text(json.dumps(content))
