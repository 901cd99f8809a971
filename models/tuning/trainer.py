"""The training loop of a LoRA tuning, with exact resume.

A tuning that was killed and resumed ends with the same adapter, bit for bit, as one that was not:
a step depends on the recipe, the examples and the state file only (on one machine, with one torch
thread: sums of several threads are not the same bits twice).
"""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from colm.models.errors import ColmError
from colm.models.tuning.recipe import Recipe, batch, learning_rate, split

#: Largest difference between the logits of the split forward pass and of the model's own
#: (relative to their largest) with which the output of the lower layers is cached.
SPLIT_TOLERANCE = 1e-2


@dataclass(frozen=True, kw_only=True)
class TokenizedExample:
    """One example: the tokens of the prompt, and those of the answer with its end of turn."""

    prompt: tuple[int, ...]
    answer: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.prompt) + len(self.answer)


@dataclass(frozen=True, kw_only=True)
class Progress:
    """The state of a tuning after a step, for a progress bar and a plot."""

    step: int
    steps: int
    #: Mean cross-entropy of the batch's answer tokens (nats).
    loss: float
    #: The same over the held-back examples, at the steps where it was measured.
    held_back_loss: float | None = None


@dataclass(kw_only=True)
class _State:
    """Everything that a step needs beside recipe and examples."""

    master: list[Tensor]
    first_moment: list[Tensor]
    second_moment: list[Tensor]
    best: list[Tensor]
    step: int = 0
    best_loss: float = float("inf")
    evaluations_since_best: int = 0
    losses: list[float] = field(default_factory=list)
    #: (step, loss) of the held-back examples.
    held_back: list[tuple[int, float]] = field(default_factory=list)


class Trainer:
    """A tuning of `model`, which gets peft's LoRA layers here.

    Raises ColmError where the model has none of the recipe's target layers, or no example is left.
    """

    def __init__(
        self, model: Any, examples: Sequence[TokenizedExample], recipe: Recipe, digest: str
    ) -> None:
        self.recipe = recipe
        #: Names the base model, the examples and the recipe: a state of another digest is refused.
        self._digest = digest
        self._examples = examples
        self._train, self._held_back = split(len(examples), recipe)
        if not self._train:
            raise ColmError("no example is left to train on: give at least two rows of data")
        layers = _layers_of(model)
        self._frozen = int(len(layers) * recipe.frozen_share)
        self.model = _with_adapters(model, recipe, range(self._frozen, len(layers)))
        self._decoder: Any = model.get_decoder()
        self._parameters = [p for p in self.model.parameters() if p.requires_grad]
        self._lower_outputs: dict[int, Tensor] = {}
        self._splits = self._frozen > 0 and self._split_is_exact()
        masters = [p.detach().float().clone() for p in self._parameters]
        self._state = _State(
            master=masters,
            first_moment=[torch.zeros_like(m) for m in masters],
            second_moment=[torch.zeros_like(m) for m in masters],
            best=[m.clone() for m in masters],
        )

    @property
    def trained_weights(self) -> int:
        return sum(p.numel() for p in self._parameters)

    @property
    def losses(self) -> Sequence[float]:
        """The training loss of every step."""
        return self._state.losses

    @property
    def held_back_losses(self) -> Sequence[tuple[int, float]]:
        """(step, loss) of the held-back examples."""
        return self._state.held_back

    def run(
        self,
        state_file: Path | None = None,
        *,
        save_every: int = 20,
        stopped: Callable[[], bool] = lambda: False,
    ) -> Iterator[Progress]:
        """Train to the end, or until `stopped`; a state file that exists is resumed.

        Afterwards the model holds the adapter of the lowest held-back loss. Raises ColmError for a
        state file of another model, data set or recipe.
        """
        if state_file is not None and state_file.exists():
            self._load(state_file)
        self._use(self._state.master)
        while not self.finished and not stopped():
            progress = self._step()
            if state_file is not None and (self.finished or progress.step % save_every == 0):
                self._save(state_file)
            yield progress
        if state_file is not None:
            self._save(state_file)
        self._use(self._state.best if self._state.held_back else self._state.master)

    @property
    def finished(self) -> bool:
        state, recipe = self._state, self.recipe
        return state.step >= recipe.max_steps or state.evaluations_since_best >= recipe.patience

    def _step(self) -> Progress:
        state, recipe = self._state, self.recipe
        loss = self._loss(batch(self._train, recipe, state.step))
        loss.backward()  # type: ignore[no-untyped-call] # torch leaves it untyped
        self._update(learning_rate(recipe, state.step))
        state.step += 1
        value = loss.item()
        state.losses.append(value)
        held_back = None
        if self._held_back and (
            state.step % recipe.evaluate_every == 0 or state.step == recipe.max_steps
        ):
            held_back = self._evaluate()
        return Progress(
            step=state.step, steps=recipe.max_steps, loss=value, held_back_loss=held_back
        )

    def _update(self, rate: float) -> None:
        """AdamW without weight decay on the float32 masters, then the model's copies."""
        state, (beta1, beta2), epsilon = self._state, (0.9, 0.95), 1e-8
        gradients = [p.grad.float() if p.grad is not None else None for p in self._parameters]
        norm = torch.linalg.vector_norm(
            torch.stack([torch.linalg.vector_norm(g) for g in gradients if g is not None])
        )
        scale = min(1.0, self.recipe.max_gradient_norm / (float(norm) + 1e-6))
        count = state.step + 1
        for index, gradient in enumerate(gradients):
            self._parameters[index].grad = None
            if gradient is None:
                continue
            first, second = state.first_moment[index], state.second_moment[index]
            gradient.mul_(scale)
            first.mul_(beta1).add_(gradient, alpha=1 - beta1)
            second.mul_(beta2).addcmul_(gradient, gradient, value=1 - beta2)
            corrected = (second / (1 - beta2**count)).sqrt_().add_(epsilon)
            state.master[index].addcdiv_(first / (1 - beta1**count), corrected, value=-rate)
        self._use(state.master)

    def _use(self, weights: Sequence[Tensor]) -> None:
        with torch.no_grad():
            for parameter, weight in zip(self._parameters, weights, strict=True):
                parameter.copy_(weight)

    @torch.no_grad()
    def _evaluate(self) -> float:
        state, size = self._state, self.recipe.batch_size
        total, tokens = 0.0, 0
        for start in range(0, len(self._held_back), size):
            numbers = self._held_back[start : start + size]
            answers = sum(len(self._examples[n].answer) for n in numbers)
            total += self._loss(numbers).item() * answers
            tokens += answers
        loss = total / tokens
        state.held_back.append((state.step, loss))
        if loss < state.best_loss:
            state.best_loss, state.evaluations_since_best = loss, 0
            state.best = [m.clone() for m in state.master]
        else:
            state.evaluations_since_best += 1
        return loss

    def _loss(self, numbers: Sequence[int]) -> Tensor:
        """Mean cross-entropy over the answer tokens of these examples."""
        tokens, places, labels = self._padded(numbers)
        if self._splits:
            logits = self._upper_logits(numbers, tokens, places)
        else:
            logits = self.model(input_ids=tokens, use_cache=False).logits[places]
        return nn.functional.cross_entropy(logits.float(), labels)

    def _padded(self, numbers: Sequence[int]) -> tuple[Tensor, tuple[Tensor, Tensor], Tensor]:
        """Tokens (batch, longest), right-padded: causal attention never sees the padding.

        Then the (row, column) places whose next token is an answer token, and those tokens.
        """
        examples = [self._examples[n] for n in numbers]
        tokens = torch.zeros(len(examples), max(map(len, examples)), dtype=torch.long)
        rows: list[int] = []
        columns: list[int] = []
        labels: list[int] = []
        for row, example in enumerate(examples):
            tokens[row, : len(example)] = torch.tensor([*example.prompt, *example.answer])
            first = len(example.prompt) - 1
            rows += [row] * len(example.answer)
            columns += range(first, first + len(example.answer))
            labels += example.answer
        device = self.model.device
        places = (torch.tensor(rows, device=device), torch.tensor(columns, device=device))
        return tokens.to(device), places, torch.tensor(labels, device=device)

    def _upper_logits(
        self, numbers: Sequence[int], tokens: Tensor, places: tuple[Tensor, Tensor]
    ) -> Tensor:
        """The logits at `places`, from the cached output of the lower layers."""
        missing = [row for row, number in enumerate(numbers) if number not in self._lower_outputs]
        if missing:
            with torch.no_grad():
                lower = self._lower(tokens[missing])
            for row, output in zip(missing, lower, strict=True):
                number = numbers[row]
                self._lower_outputs[number] = output[: len(self._examples[number])].clone()
        hidden = torch.zeros(
            *tokens.shape, self._decoder.config.hidden_size, dtype=self.model.dtype,
            device=tokens.device,
        )  # fmt: skip
        for row, number in enumerate(numbers):
            output = self._lower_outputs[number]
            hidden[row, : len(output)] = output
        return self._head(self._upper(tokens, hidden)[places])

    def _lower(self, tokens: Tensor) -> Tensor:
        """The output of the frozen layers (batch, length, hidden)."""
        with self._only(slice(0, self._frozen), norm=nn.Identity()):
            output: Tensor = self._decoder(input_ids=tokens, use_cache=False).last_hidden_state
        return output

    def _upper(self, tokens: Tensor, hidden: Tensor) -> Tensor:
        """The output of the tuned layers after the last norm, with `hidden` as their input."""

        def substitute(
            _module: nn.Module, positional: tuple[Any, ...], named: Mapping[str, Any]
        ) -> tuple[tuple[Any, ...], Mapping[str, Any]]:
            if positional:
                return (hidden, *positional[1:]), named
            return (), {**named, "hidden_states": hidden}

        first = self._decoder.layers[self._frozen]
        handle = first.register_forward_pre_hook(substitute, with_kwargs=True)
        try:
            with self._only(slice(self._frozen, None)):
                output: Tensor = self._decoder(input_ids=tokens, use_cache=False).last_hidden_state
        finally:
            handle.remove()
        return output

    def _head(self, hidden: Tensor) -> Tensor:
        logits: Tensor = self.model.get_output_embeddings()(hidden)
        return logits

    @contextmanager
    def _only(self, layers: slice, norm: nn.Module | None = None) -> Iterator[None]:
        """The decoder with a part of its layers, and another last norm."""
        decoder = self._decoder
        whole, last, count = decoder.layers, decoder.norm, decoder.config.num_hidden_layers
        decoder.layers = whole[layers]
        decoder.config.num_hidden_layers = len(decoder.layers)
        decoder.norm = norm or last
        try:
            yield
        finally:
            decoder.layers, decoder.norm = whole, last
            decoder.config.num_hidden_layers = count

    @torch.no_grad()
    def _split_is_exact(self) -> bool:
        """Whether lower and upper layers in two passes give the model's own logits."""
        tokens, places, _ = self._padded(self._train[:1])
        try:
            ours = self._head(self._upper(tokens, self._lower(tokens))[places])
        except (AttributeError, TypeError, IndexError):
            return False  # a decoder of another shape: every step runs all layers
        theirs = self.model(input_ids=tokens, use_cache=False).logits[places]
        allowed = SPLIT_TOLERANCE * float(theirs.abs().max())
        return bool((ours - theirs).abs().max() <= allowed)

    def _save(self, path: Path) -> None:
        state = self._state
        tensors = {
            f"{name}.{index}": tensor.contiguous()
            for name in ("master", "first_moment", "second_moment", "best")
            for index, tensor in enumerate(getattr(state, name))
        }
        values = {
            "digest": self._digest, "step": state.step, "losses": state.losses,
            "best_loss": None if state.best_loss == float("inf") else state.best_loss,
            "evaluations_since_best": state.evaluations_since_best, "held_back": state.held_back,
        }  # fmt: skip
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_suffix(".writing")
        save_file(tensors, temporary, metadata={"state": json.dumps(values)})
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.replace(path)

    def _load(self, path: Path) -> None:
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(path, framework="pt") as file:
                values = json.loads((file.metadata() or {})["state"])
            tensors = load_file(path)
        except (SafetensorError, KeyError, ValueError, OSError) as error:
            raise ColmError(f"{path} is no state of a tuning: remove it to start anew") from error
        if values["digest"] != self._digest:
            raise ColmError(
                f"{path} belongs to another model, data set or recipe: remove it to start anew"
            )
        count = len(self._parameters)
        lists = {
            name: [tensors[f"{name}.{index}"].to(self.model.device) for index in range(count)]
            for name in ("master", "first_moment", "second_moment", "best")
        }
        self._state = _State(
            **lists,
            step=values["step"],
            losses=values["losses"],
            best_loss=float("inf") if values["best_loss"] is None else values["best_loss"],
            evaluations_since_best=values["evaluations_since_best"],
            held_back=[(step, loss) for step, loss in values["held_back"]],
        )


def _layers_of(model: Any) -> nn.ModuleList:
    layers = getattr(model.get_decoder(), "layers", None)
    if not isinstance(layers, nn.ModuleList):
        raise ColmError(
            f"{type(model).__name__} cannot be tuned: its decoder has no list of layers. Use a "
            "decoder-only text model (Llama, Qwen, SmolLM, Mistral, Gemma, Phi)"
        )
    return layers


def _with_adapters(model: Any, recipe: Recipe, layers: range) -> Any:
    config = LoraConfig(
        r=recipe.rank,
        lora_alpha=recipe.alpha,
        lora_dropout=0.0,
        target_modules=list(recipe.targets),
        layers_to_transform=list(layers),
        task_type="CAUSAL_LM",
    )
    torch.manual_seed(recipe.seed)  # the initial values of the A matrices
    try:
        with warnings.catch_warnings():  # peft reads a property that transformers will rename
            warnings.filterwarnings("ignore", "`is_gradient_checkpointing`", FutureWarning)
            return get_peft_model(model, config, autocast_adapter_dtype=False)
    except ValueError as error:
        raise ColmError(
            f"{type(model).__name__} has none of the layers {', '.join(recipe.targets)}: name its "
            "linear layers in `targets`"
        ) from error
