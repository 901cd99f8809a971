"""Implementation of `colm tune`: data to adapter, with progress, score and plot."""

from __future__ import annotations

import hashlib
import json
import random
import time
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress, TextColumn

from colm.evaluation.data.examples import Dataset
from colm.evaluation.data.examples import Example as DataExample
from colm.evaluation.data.load import load as load_data
from colm.evaluation.grading import grade
from colm.evaluation.stats.statistics import Estimate, wilson
from colm.models.errors import ColmError, SettingsError
from colm.models.roster import nearest
from colm.tasks.config.settings import ParticipantSettings, prepare_for_torch, settings
from colm.workers.console import print_json

#: Share of the examples that only measure the score, and the most of them.
SCORED_SHARE, MOST_SCORED = 0.1, 100
#: Steps between two writes of the state file.
SAVE_EVERY = 20


@dataclass(frozen=True, kw_only=True)
class TuneReport:
    """The outcome of a tuning, as `--json` prints it."""

    participant: str
    adapter: str
    sha256: str
    examples: int
    left_out: int
    steps: int
    stopped_early: bool
    seconds: float
    #: Right answers of the scored examples, which the tuning never saw, before and after.
    before: Estimate | None
    after: Estimate | None


def run_tune(
    name: str,
    data: str,
    output: Path | None,
    recipe_changes: dict[str, Any],
    *,
    notes: bool,
    as_json: bool,
) -> int:
    """Tune the model of participant `name` on the data set `data`; returns the exit status.

    The adapter goes to `output`, by default `adapters/NAME` in the site's home. A tuning that was
    interrupted goes on where its state file ends. Raises ColmError with what to do.
    """
    prepare_for_torch()
    if find_spec("peft") is None or find_spec("torch") is None:
        raise ColmError("'colm tune' needs the extra 'tuning': pip install 'colm[engine,tuning]'")
    from colm.models.tuning.recipe import Recipe

    participant = _participant(name)
    recipe = Recipe(**recipe_changes)
    dataset = load_data(data)
    folder = (output or settings().home / "adapters" / name).absolute()
    console = Console(stderr=True)
    tuning = _Tuning(name, participant, dataset, recipe, notes=notes, console=console)
    report = tuning.run(folder)
    if as_json:
        print_json(report)
    else:
        _print(report, Console())
    return 0


class _Tuning:
    """One tuning from loaded model to written adapter."""

    def __init__(
        self,
        name: str,
        participant: ParticipantSettings,
        dataset: Dataset,
        recipe: Any,
        *,
        notes: bool,
        console: Console,
    ) -> None:
        from colm.models.adapters import base_sha256
        from colm.models.engines.native.tokenizer import ChatTokenizer
        from colm.models.engines.native.weights import load
        from colm.models.tuning.examples import draft_examples, note_examples
        from colm.models.tuning.trainer import Trainer
        from colm.workers.tuner.encode import encode, end_of_turn

        self._name, self._recipe, self._console, self._dataset = name, recipe, console, dataset
        self._client = participant.participant(name, "client")
        model_folder = _model_folder(participant)
        self._base_name = participant.engine.model
        self._base = base_sha256(model_folder)
        self._notes = notes
        engine = participant.engine.model_copy(update={"dtype": _dtype(participant)})
        loaded = load(engine, model_path=str(model_folder))
        self._tokenizer = ChatTokenizer(loaded.tokenizer)
        self._end = end_of_turn(self._tokenizer, loaded.tokenizer.eos_token_id)
        trained, self._scored = _score_split(dataset.examples, recipe.seed)
        questions = [_question(example) for example in trained]
        examples = draft_examples(self._client, questions)
        if notes:
            examples += note_examples(self._client, questions, recipe.seed)
        self._examples, self._left_out = encode(
            self._tokenizer, examples, max_tokens=recipe.max_tokens, end=self._end
        )
        self._digest = _digest(self._base, dataset.digest, recipe, self._client, notes=notes)
        self._check_memory(loaded.model)
        self.trainer = Trainer(loaded.model, self._examples, recipe, self._digest)

    def run(self, folder: Path) -> TuneReport:
        """Score, train, write and score again."""
        started = time.monotonic()
        before = self._score("score before", adapted=False)
        state = folder.with_name(folder.name + ".state")
        with _bar(self._console) as progress_bar:
            task = progress_bar.add_task("tuning", total=self._recipe.max_steps)
            for progress in self.trainer.run(state, save_every=SAVE_EVERY):
                held_back = self.trainer.held_back_losses
                losses = f"loss {progress.loss:.3f}"
                if held_back:
                    losses += f", held back {held_back[-1][1]:.3f}"
                progress_bar.update(task, completed=progress.step, description=f"tuning, {losses}")
        after = self._score("score after", adapted=True)
        sha256 = self._write(folder, before, after)
        state.unlink(missing_ok=True)
        _write_plot(folder, self.trainer.losses, self.trainer.held_back_losses)
        steps = len(self.trainer.losses)
        return TuneReport(
            participant=self._name,
            adapter=str(folder),
            sha256=sha256,
            examples=len(self._examples),
            left_out=self._left_out,
            steps=steps,
            stopped_early=steps < self._recipe.max_steps,
            seconds=time.monotonic() - started,
            before=before,
            after=after,
        )

    def _check_memory(self, model: Any) -> None:
        """Print the estimate beside the free memory. Raises ColmError where it does not fit."""
        from colm.models.tuning.recipe import memory_needed

        config = model.config.get_text_config()
        layers = config.num_hidden_layers
        tuned = layers - int(layers * self._recipe.frozen_share)
        weights = sum(p.numel() for p in model.parameters())
        bytes_per_value = model.dtype.itemsize
        needed = memory_needed(
            self._recipe,
            model_bytes=weights * bytes_per_value,
            trained_weights=_adapter_weights(model, self._recipe, layers - tuned),
            cached_tokens=sum(map(len, self._examples)) if tuned < layers else 0,
            longest=max(map(len, self._examples)),
            hidden_size=config.hidden_size,
            tuned_layers=tuned,
            vocabulary=config.vocab_size,
            bytes_per_value=bytes_per_value,
        )
        free = _free_memory()
        self._console.print(
            f"memory: {needed / 2**30:.1f} GiB needed, {free / 2**30:.1f} GiB free", highlight=False
        )
        # The model itself is loaded by now.
        if needed - weights * bytes_per_value > free:
            raise ColmError(
                f"the tuning needs about {needed / 2**30:.1f} GiB and {free / 2**30:.1f} GiB are "
                "free: lower --batch-size or --max-tokens, or stop other processes"
            )

    def _score(self, title: str, *, adapted: bool) -> Estimate | None:
        """The share of right greedy answers to the scored examples."""
        from colm.models.prompts import colm as prompts
        from colm.models.tuning.generate import greedy_answers

        if not self._scored:
            return None
        model = self.trainer.model
        longest = max(len(example.answer) for example in self._examples)
        with _bar(self._console) as bar, nullcontext() if adapted else model.disable_adapter():
            task = bar.add_task(title, total=len(self._scored))
            answers = greedy_answers(
                model,
                [
                    self._tokenizer.encode(prompts.draft(self._client, e.question))
                    for e in self._scored
                ],
                end=self._end,
                max_new_tokens=max(32, 2 * longest),
                decode=self._tokenizer.decode,
                done=lambda count: bar.advance(task, count),
            )
        right = sum(
            grade(example, answer).correct is True
            for example, answer in zip(self._scored, answers, strict=True)
        )
        return wilson(right, len(self._scored))

    def _write(self, folder: Path, before: Estimate | None, after: Estimate | None) -> str:
        from colm.models.adapters import BASE_KEY
        from colm.models.prompts import colm as prompts
        from colm.models.tuning.adapter_writer import write_adapter

        origin = {
            "participant": self._name,
            "domain": self._client.domain,
            "data": {
                "name": Path(self._dataset.name).name,
                "sha256": self._dataset.digest,
                "examples": len(self._dataset.examples),
            },
            "notes": self._notes,
            "recipe": self._recipe.model_dump(),
            "prompts": prompts.VERSION,
            "steps": len(self.trainer.losses),
            "versions": {name: version(name) for name in ("colm", "torch", "transformers", "peft")},
            "score": {
                "before": asdict(before) if before else None,
                "after": asdict(after) if after else None,
            },
        }
        return write_adapter(
            self.trainer.model,
            folder,
            base=self._base_name,
            metadata={BASE_KEY: self._base, "colm.origin": json.dumps(origin, sort_keys=True)},
        )


def _participant(name: str) -> ParticipantSettings:
    site = settings()
    participants = {**site.servers, **site.clients}
    if name not in participants:
        raise SettingsError(
            f"no client or server is called {name!r}{nearest(name, participants)}: add "
            f"[clients.{name}] to colm.toml"
        )
    participant = participants[name]
    if participant.engine.kind != "transformers":
        raise SettingsError(
            f"{name} has an engine of kind {participant.engine.kind!r}: 'colm tune' tunes models "
            "of kind 'transformers'"
        )
    if participant.engine.model.endswith(".gguf"):
        raise SettingsError(
            f"{name} has a .gguf file, whose weights are quantized: set `model` to the folder or "
            "hub id of the model that it was made from"
        )
    return participant


def _model_folder(participant: ParticipantSettings) -> Path:
    from transformers.utils.hub import cached_file

    from colm.workers.quickstart_model import QUICKSTART, quickstart_folder

    model = participant.engine.model
    if model == QUICKSTART:
        return quickstart_folder(settings().cache)
    if Path(model).is_dir():
        return Path(model)
    return Path(cached_file(model, "config.json") or model).parent


def _dtype(participant: ParticipantSettings) -> str:
    """int8 weights cannot be tuned: the adapter is tuned beside the model's own."""
    dtype = participant.engine.dtype
    return "auto" if dtype == "int8" else dtype


def _question(example: DataExample) -> Any:
    from colm.models.tuning.examples import Question

    return Question(question=example.question, answer=example.references[0])


def _score_split(
    examples: Sequence[DataExample], seed: int
) -> tuple[list[DataExample], list[DataExample]]:
    """The examples to train on and those that only measure the score, by the seed alone."""
    usable = [example for example in examples if example.references and not example.images]
    if len(usable) < 4:
        raise ColmError(
            f"{len(usable)} of {len(examples)} rows are questions with an answer and without an "
            "image: a tuning needs at least 4"
        )
    order = list(range(len(usable)))
    random.Random(f"{seed}:scored").shuffle(order)
    scored = set(order[: min(MOST_SCORED, max(1, int(len(usable) * SCORED_SHARE)))])
    return (
        [example for place, example in enumerate(usable) if place not in scored],
        [example for place, example in enumerate(usable) if place in scored],
    )


def _digest(base: str, data: str, recipe: Any, client: Any, *, notes: bool) -> str:
    parts = [base, data, recipe.model_dump_json(), client.model_dump_json(), str(notes)]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def _adapter_weights(model: Any, recipe: Any, first_layer: int) -> int:
    """Weights of the low-rank matrices that the recipe adds."""
    layers = model.get_decoder().layers[first_layer:]
    return sum(
        recipe.rank * (module.in_features + module.out_features)
        for layer in layers
        for name, module in layer.named_modules()
        if name.rsplit(".", 1)[-1] in recipe.targets and hasattr(module, "in_features")
    )


def _free_memory() -> int:
    """Memory that can be used without swapping (bytes)."""
    lines = Path("/proc/meminfo").read_text().splitlines()
    values = dict(line.split(":", 1) for line in lines)
    return int(values["MemAvailable"].split()[0]) * 1024


def _bar(console: Console) -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        *Progress.get_default_columns()[1:],
        MofNCompleteColumn(),
        console=console,
        disable=not console.is_terminal,
    )


def _write_plot(
    folder: Path, losses: Sequence[float], held_back: Sequence[tuple[int, float]]
) -> None:
    """loss.png beside the adapter, where matplotlib is installed."""
    try:
        from colm.evaluation.report.loss_plot import loss_plot
    except ImportError:
        return
    (folder / "loss.png").write_bytes(loss_plot(losses, held_back).png)


def _print(report: TuneReport, console: Console) -> None:
    early = ", stopped early" if report.stopped_early else ""
    lines = [f"{report.adapter}: sha256:{report.sha256[:12]}, {report.steps} steps{early}"]
    if report.left_out:
        lines.append(f"{report.left_out} examples were longer than max_tokens and were left out")
    for name, score in (("before", report.before), ("after", report.after)):
        if score is not None:
            lines.append(
                f"{name}: {score.value:.0%} right ({score.low:.0%} to {score.high:.0%}, "
                f"n = {score.n})"
            )
    lines.append(
        f'to serve it: adapter = "{report.adapter}" in [clients.{report.participant}.engine]'
    )
    for line in lines:
        console.print(line, highlight=False, markup=False, soft_wrap=True)
