"""The peers in plain transformers, with the same weights and prompts.

Both get sdpa attention and the precision of CoLM's engine, make no pauses, keep one tokenizer, and
spend no time on reading data or writing results.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, StoppingCriteria, StoppingCriteriaList
from transformers.utils import logging as transformers_logging

from benchmarks.peers.work import Call, Query, Tally, Work, query
from colm.models.engines.native.precision import torch_dtype
from colm.models.engines.native.tokenizer import ChatTokenizer


class StaticModel:
    """`generate` over a padded batch; weights are loaded and dropped on demand."""

    def __init__(self, folder: Path) -> None:
        transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]  # untyped
        self._folder = folder
        tokenizer: Any = AutoTokenizer.from_pretrained(folder)
        self._tokenizer = ChatTokenizer(tokenizer)
        self._pad: int = tokenizer.pad_token_id
        self._model: Any = None
        # The default of CoLM's engine.
        self._dtype = torch_dtype("auto", torch.device("cpu"))

    def load(self) -> None:
        self._model = AutoModelForCausalLM.from_pretrained(self._folder, dtype=self._dtype)
        self._model.eval()

    def drop(self) -> None:
        self._model = None

    def generate(self, calls: Sequence[Call], tally: Tally) -> list[str]:
        """The completion of each call, cut at its own length."""
        prompts = [self._tokenizer.encode(call.messages) for call in calls]
        width = max(map(len, prompts))
        padded = [[self._pad] * (width - len(p)) + p for p in prompts]
        mask = [[0] * (width - len(p)) + [1] * len(p) for p in prompts]
        lengths = torch.tensor([call.tokens for call in calls])
        with torch.inference_mode():
            output = self._model.generate(
                torch.tensor(padded),
                attention_mask=torch.tensor(mask),
                do_sample=False,
                max_new_tokens=int(lengths.max()),
                stopping_criteria=StoppingCriteriaList([_Lengths(width, lengths)]),
            )
        rows = [row[width:][: call.tokens] for row, call in zip(output, calls, strict=True)]
        tally.calls += len(calls)
        tally.prompt_tokens += sum(map(len, prompts))
        tally.completion_tokens += sum(map(len, rows))
        return [self._tokenizer.decode(row.tolist()) for row in rows]


class _Lengths(StoppingCriteria):
    """Ends each row at its own number of tokens; the batch runs to the longest."""

    def __init__(self, width: int, lengths: torch.Tensor) -> None:
        self._ends = width + lengths

    def __call__(self, input_ids: Any, *_: Any, **__: Any) -> Any:
        return input_ids.shape[1] >= self._ends


def reference_script(work: Work, model: StaticModel) -> Tally:
    """The published script's loop: one call at a time, model kept in memory."""
    tally = Tally()
    model.load()
    started = time.perf_counter()
    for question in work.questions:
        asking = query(work, question)
        calls = next(asking)
        while calls:
            texts = [model.generate([call], tally)[0] for call in calls]
            calls = _go_on(asking, texts, tally)
    tally.seconds = time.perf_counter() - started
    model.drop()
    return tally


def load_per_round(work: Work, model: StaticModel, batch: int) -> Tally:
    """The loop of kits for several models: stage by stage over all questions.

    Each stage loads its model, runs its calls in padded batches of at most `batch`, and drops it.
    All clients have one model, so that a stage of clients is one load.
    """
    tally = Tally()
    started = time.perf_counter()
    open_queries = [(asking, next(asking)) for asking in (query(work, q) for q in work.questions)]
    while open_queries:
        loading = time.perf_counter()
        model.load()
        tally.loading += time.perf_counter() - loading
        tally.loads += 1
        calls = [call for _, calls_of_query in open_queries for call in calls_of_query]
        parts = [calls[n : n + batch] for n in range(0, len(calls), batch)]
        texts = iter([text for part in parts for text in model.generate(part, tally)])
        model.drop()
        replies = [
            (asking, [next(texts) for _ in calls_of_query])
            for asking, calls_of_query in open_queries
        ]
        moved = [(asking, _go_on(asking, reply, tally)) for asking, reply in replies]
        open_queries = [
            (asking, calls_of_query) for asking, calls_of_query in moved if calls_of_query
        ]
    tally.seconds = time.perf_counter() - started
    return tally


def _go_on(asking: Query, texts: list[str], tally: Tally) -> list[Call]:
    """The next calls of a query; none at its end."""
    try:
        return asking.send(texts)
    except StopIteration as ended:
        tally.answers.append(ended.value)
        return []
