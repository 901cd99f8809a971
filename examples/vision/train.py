"""Trains a weak client and a stronger server to look at images.

    python -m examples.vision.train OUT [--client-steps 600] [--server-steps 3000]

Equal numbers give equal weights on one machine. Takes some minutes on one core.
"""

from __future__ import annotations

import argparse
from functools import cache
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from rich.console import Console
from rich.progress import track
from torch import Tensor
from transformers import get_cosine_schedule_with_warmup

from colm.models.messages import Turn
from colm.models.prompts import colm
from examples.vision.small_vlm import (
    CLIENTS,
    Lessons,
    Question,
    chat_of,
    easy_vqa,
    make_model,
    make_processor,
)

BATCH = 32
LEARNING_RATE = 1.5e-3


def train(questions: list[Question], processor: Any, steps: int, seed: int) -> Any:
    """A model after `steps` batches of lessons."""
    model = make_model(processor, seed)
    model.train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE, weight_decay=0.01)
    schedule = get_cosine_schedule_with_warmup(optimizer, min(100, steps // 5), steps)
    lessons = Lessons(questions, seed).batches(BATCH)
    for _ in track(range(steps), description=f"training, {steps} steps"):
        inputs = _inputs(processor, next(lessons))
        loss = model(**inputs).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
    return model.eval()


def accuracy(model: Any, processor: Any, questions: list[Question], client: Any) -> float:
    """The share of questions that it answers alone, with the draft's prompt."""
    right = 0
    for start in range(0, len(questions), BATCH):
        part = questions[start : start + BATCH]
        chats = [list(colm.draft(client, question.question)) for question in part]
        inputs = _encoded(processor, part, chats, [""] * len(part))
        with torch.inference_mode():
            words = model(**inputs, logits_to_keep=1).logits[:, -1].argmax(dim=-1).tolist()
        predicted = [processor.tokenizer.decode([word]).strip() for word in words]
        right += sum(
            word == question.answer for word, question in zip(predicted, part, strict=True)
        )
    return right / len(questions)


def _inputs(processor: Any, batch: list[tuple[Question, list[Turn]]]) -> dict[str, Tensor]:
    """Only the answer and the end of turn count in the loss."""
    questions = [question for question, _ in batch]
    answers = [f"{question.answer}<end>" for question in questions]
    inputs = _encoded(processor, questions, [turns for _, turns in batch], answers)
    labels = torch.full_like(inputs["input_ids"], -100)
    labels[:, -2:] = inputs["input_ids"][:, -2:]  # padded on the left: all end together
    return {**inputs, "labels": labels}


def _encoded(
    processor: Any, questions: list[Question], chats: list[list[Turn]], answers: list[str]
) -> dict[str, Tensor]:
    texts = [
        processor.apply_chat_template(chat_of(turns), add_generation_prompt=True) + answer
        for turns, answer in zip(chats, answers, strict=True)
    ]
    inputs = processor(
        text=texts,
        images=[[_picture(question.picture)] for question in questions],
        return_tensors="pt",
        padding=True,
        add_special_tokens=False,
    )
    return dict(inputs)


@cache
def _picture(path: Path) -> Image.Image:
    with Image.open(path) as picture:
        return picture.convert("RGB")


def train_both(out: Path, client_steps: int, server_steps: int, *, threads: int = 1) -> None:
    """Trains client and server, and saves each with its processor in a folder of `out`."""
    torch.set_num_threads(threads)
    learned, unseen = easy_vqa("train"), easy_vqa("test")
    words = {word for question in learned for word in question.question.strip("?").split()}
    processor = make_processor(sorted(words | {question.answer for question in learned}))
    for name, steps, seed in (("client", client_steps, 1), ("server", server_steps, 2)):
        model = train(learned, processor, steps, seed)
        model.save_pretrained(out / name)
        processor.save_pretrained(out / name)
        share = accuracy(model, processor, unseen[:960], CLIENTS[0])
        Console().print(f"{name}: {steps} steps, {share:.1%} of 960 test questions alone")


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("out", type=Path, help="folders client and server are made in it")
    options.add_argument("--client-steps", type=int, default=600)
    options.add_argument("--server-steps", type=int, default=3000)
    options.add_argument("--threads", type=int, default=1)
    arguments = options.parse_args()
    train_both(
        arguments.out, arguments.client_steps, arguments.server_steps, threads=arguments.threads
    )


if __name__ == "__main__":
    main()
