"""Greedy answers of a model under tuning, for its score before and after."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch

BATCH = 16


@torch.no_grad()
def greedy_answers(
    model: Any,
    prompts: Sequence[Sequence[int]],
    *,
    end: int,
    max_new_tokens: int,
    decode: Callable[[Sequence[int]], str],
    done: Callable[[int], None] = lambda _count: None,
) -> list[str]:
    """The answer to each prompt (tokens), in order; `done` is called with the count of each batch.

    Prompts of one batch are padded on the left and the padding is masked.
    """
    was_training = model.training
    model.eval()
    answers: list[str] = []
    for start in range(0, len(prompts), BATCH):
        part = prompts[start : start + BATCH]
        longest = max(map(len, part))
        tokens = torch.full((len(part), longest), end, device=model.device)
        mask = torch.zeros_like(tokens)
        for row, prompt in enumerate(part):
            tokens[row, longest - len(prompt) :] = torch.tensor(prompt, device=model.device)
            mask[row, longest - len(prompt) :] = 1
        generated = model.generate(
            input_ids=tokens, attention_mask=mask, do_sample=False, num_beams=1,
            max_new_tokens=max_new_tokens, eos_token_id=end, pad_token_id=end,
            temperature=None, top_p=None, top_k=None,
        )  # fmt: skip
        for row in generated[:, longest:].tolist():
            answers.append(decode(row[: row.index(end)] if end in row else row).strip())
        done(len(part))
    model.train(was_training)
    return answers
