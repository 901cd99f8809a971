"""Small vision-language models, trained here: an Idefics3 of about a million weights.

No package registry has a pretrained one. They see 64 x 64 pixels of the package `easy-vqa` (one
shape on a plain ground) and answer with one word. Longer training makes a strong server of a weak
client. They are trained on the product's own prompts, and so can read drafts and guidance.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from tokenizers import AddedToken, Tokenizer, pre_tokenizers
from tokenizers.models import WordLevel
from tokenizers.normalizers import Lowercase
from transformers import (
    AutoModelForImageTextToText,
    Idefics3Config,
    LlamaConfig,
    PreTrainedTokenizerFast,
)
from transformers.models.idefics3.image_processing_pil_idefics3 import Idefics3ImageProcessorPil
from transformers.models.idefics3.processing_idefics3 import Idefics3Processor

from colm.models.messages import Participant, Turn
from colm.models.prompts import colm

SIDE, PATCH, SHRINK = 64, 8, 2
SPECIAL = ("<pad>", "<unk>", "<start>", "<end>")
IMAGE_TOKENS = ("<image>", "<fake_token_around_image>", "<global-img>", "<end_of_utterance>")
TEMPLATE = (
    "{% for m in messages %}<start>{{ m.role }} {% for c in m.content %}"
    "{% if c.type == 'image' %}<image>{% else %}{{ c.text }}{% endif %}{% endfor %}<end>"
    "{% endfor %}{% if add_generation_prompt %}<start>assistant {% endif %}"
)
#: Words of the product's prompts with their own token.
FRAME = ("draft", "note", "question", "by", "system", "user", "assistant", "your", "guide")
CLIENTS = tuple(Participant(name=name, role="client") for name in ("ada", "bo", "cy"))


@dataclass(frozen=True)
class Question:
    """One question of the data set."""

    question: str
    answer: str
    picture: Path


def easy_vqa(split: str) -> list[Question]:
    """The questions of "train" or "test"."""
    spec = find_spec("easy_vqa")
    if spec is None or spec.origin is None:
        raise SystemExit("pip install easy-vqa (1.0, MIT): its wheel holds the images")
    folder = Path(spec.origin).parent / "data" / split
    rows = json.loads((folder / "questions.json").read_text())
    return [Question(q, a, folder / "images" / f"{image}.png") for q, a, image in rows]


def make_processor(words: Sequence[str]) -> Any:
    """A word tokenizer and an image processor of one size."""
    vocabulary = [*SPECIAL, *sorted({*words, *FRAME}), *"?.,:<>/=\"'"]
    backend = Tokenizer(
        WordLevel({word: n for n, word in enumerate(vocabulary)}, unk_token="<unk>")
    )
    backend.normalizer = Lowercase()
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    backend.add_special_tokens([AddedToken(token, special=True) for token in SPECIAL])
    tokenizer: Any = PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]  # untyped
        tokenizer_object=backend,
        pad_token="<pad>",
        unk_token="<unk>",
        bos_token="<start>",
        eos_token="<end>",
        chat_template=TEMPLATE,
        padding_side="left",
    )
    tokenizer.add_special_tokens({"additional_special_tokens": list(IMAGE_TOKENS)})
    images: Any = Idefics3ImageProcessorPil(
        do_image_splitting=False, size={"longest_edge": SIDE}, max_image_size={"longest_edge": SIDE}
    )
    places = (SIDE // PATCH) ** 2 // SHRINK**2
    return Idefics3Processor(images, tokenizer, image_seq_len=places, chat_template=TEMPLATE)


def make_model(processor: Any, seed: int) -> Any:
    """About 1.2 million weights, random by `seed`."""
    tokenizer = processor.tokenizer
    text = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=128,
        intermediate_size=256,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=1024,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    vision = {
        "hidden_size": 128,
        "intermediate_size": 256,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "image_size": SIDE,
        "patch_size": PATCH,
    }
    config = Idefics3Config(
        vision_config=vision,
        text_config=text.to_dict(),
        scale_factor=SHRINK,
        image_token_id=tokenizer.convert_tokens_to_ids("<image>"),
    )
    torch.manual_seed(seed)
    factory: Any = AutoModelForImageTextToText
    return factory.from_config(config).float()


class Lessons:
    """Chats with the prompts of strategy `colm`, each ending in the right word.

    Four in five drafts and notes in them are right.
    """

    RIGHT = 0.8

    def __init__(self, questions: Sequence[Question], seed: int) -> None:
        self._asked = questions
        self._dice = random.Random(seed)
        self._words = sorted({question.answer for question in questions})
        self._kinds = [
            {"yes", "no"},
            {"circle", "triangle", "rectangle"},
            set(self._words) - {"yes", "no", "circle", "triangle", "rectangle"},
        ]

    def batches(self, size: int) -> Iterator[list[tuple[Question, list[Turn]]]]:
        """Batches of one act each: rows are padded to the longest."""
        while True:
            act = self._dice.choices(("draft", "refine", "synthesize"), (3, 2, 1))[0]
            yield [
                (question, self._chat(act, question))
                for question in self._dice.choices(self._asked, k=size)
            ]

    def _chat(self, act: str, question: Question) -> list[Turn]:
        client = self._dice.choice(CLIENTS)
        match act:
            case "draft":
                return list(colm.draft(client, question.question))
            case "refine":
                own, note = self._guess(question), self._guess(question)
                return list(colm.refine(client, question.question, own, note, relevant=True))
            case _:
                drafts = [colm.LabelledDraft(c, self._guess(question)) for c in CLIENTS]
                return list(colm.synthesize(drafts, question.question))

    def _guess(self, question: Question) -> str:
        """Another participant's answer: of the right kind, right with probability `RIGHT`."""
        if self._dice.random() < self.RIGHT:
            return question.answer
        kind = next(kind for kind in self._kinds if question.answer in kind)
        return self._dice.choice(sorted(kind - {question.answer}))


def chat_of(turns: Sequence[Turn]) -> list[dict[str, Any]]:
    """The turns in the processor's format; the first user turn has the image."""
    chat, has_image = [], False
    for turn in turns:
        content: list[dict[str, str]] = [{"type": "text", "text": turn.content}]
        if turn.role == "user" and not has_image:
            content, has_image = [{"type": "image"}, *content], True
        chat.append({"role": turn.role, "content": content})
    return chat
