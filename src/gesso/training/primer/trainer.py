"""The loop that trains the primer. It can be stopped at any time; the next run goes on as if nothing had happened."""

import signal
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.optim.swa_utils import get_ema_multi_avg_fn

from gesso.core.errors import CancelledError, ModelError, NonFiniteError
from gesso.training.primer.autoencoding import Autoencoding
from gesso.training.primer.checkpoint import Checkpoint, read_checkpoint, remove_unfinished
from gesso.training.primer.denoising import Denoising
from gesso.training.primer.journal import Journal
from gesso.training.primer.lesson import Lesson
from gesso.training.primer.plan import Part, TrainingPlan

MODEL = "model"
"""Folder, inside that of the training, of the pipeline with the averaged weights."""

Tryout = Callable[[Path], dict[str, Any]]
"""Lets a pipeline folder draw held-out prompts and returns its scores."""


@dataclass(frozen=True, kw_only=True)
class Progress:
    """News for whoever watches."""

    step: int
    steps: int
    loss: float
    learning_rate: float
    pictures_per_second: float


def train(
    plan: TrainingPlan,
    *,
    tryout: Tryout | None = None,
    watch: Callable[[Progress], None] = lambda _: None,
    encoding: Callable[[int], None] = lambda _: None,
    device: str = "cpu",
) -> Path:
    """Train until `plan.steps`, going on from the checkpoint in `plan.out` if there is one.

    Args:
        tryout: gives the scores for the log; called every `plan.validation.every_steps` and at the end.
        watch: told of every line of the log.
        encoding: told how many pictures are encoded, before the first step.

    Returns:
        The folder of the trained pipeline: float16, averaged weights.

    Raises:
        InputError, ModelError: the plan does not fit what it starts or goes on from.
        StorageError: the disk is full; the last checkpoint is good.
        CancelledError: SIGINT or SIGTERM came; the step was ended and a checkpoint written.
        NonFiniteError: the loss is no longer a number; the last checkpoint is good.
    """
    lesson = lesson_of(plan, device=torch.device(device))
    trainer = Trainer(plan, lesson, tryout=tryout, watch=watch)
    lesson.prepare(encoding)
    return trainer.run()


def lesson_of(plan: TrainingPlan, *, device: torch.device) -> Lesson:
    """What `plan` teaches, on `device`."""
    match plan.part:
        case Part.DENOISER:
            return Denoising(plan, device=device)
        case Part.DECODER | Part.VAE:
            return Autoencoding(plan, device=device)


class Trainer:
    """A training in progress. Used by one thread."""

    def __init__(
        self,
        plan: TrainingPlan,
        lesson: Lesson,
        *,
        tryout: Tryout | None = None,
        watch: Callable[[Progress], None] = lambda _: None,
    ) -> None:
        self.plan = plan
        self.lesson = lesson
        self.named = dict(lesson.learning())
        self.parameters = list(self.named.values())
        self.average = {name: parameter.detach().clone() for name, parameter in self.named.items()}
        fused = self.parameters[0].device.type == "cuda"  # one kernel for all that learns, not some for each
        self.optimizer = torch.optim.AdamW(
            self.parameters,
            lr=plan.learning_rate,
            betas=(0.9, 0.99),
            weight_decay=plan.weight_decay,
            fused=fused or None,
        )
        self.step = 0
        self.seconds = 0.0
        self._losses: list[Tensor] = []
        self._tryout = tryout
        self._watch = watch
        self._resume()
        self.journal = Journal(plan.out, step=self.step)

    def run(self) -> Path:
        """Do what is left of the plan, and write the model."""
        plan = self.plan
        if self.step >= plan.steps and self._validated():
            return plan.out / MODEL  # nothing is left to do
        saved_at = began = time.monotonic()
        with _stop_signals() as stopped:
            while self.step < plan.steps:
                self._losses.append(self.learn())
                self.step += 1
                now = time.monotonic()
                self.seconds, began = self.seconds + now - began, now
                if self.step % plan.log_every_steps == 0 or self.step == plan.steps:
                    self._log()
                if stopped():
                    self.save()
                    raise CancelledError(f"Stopped after step {self.step} of {plan.steps}; the same command goes on")
                if self.step % plan.validation.every_steps == 0 and self.step < plan.steps:
                    self.save()
                    self.validate()
                    saved_at = began = time.monotonic()
                elif now - saved_at >= plan.checkpoint_every_seconds:
                    self.save()
                    saved_at = began = time.monotonic()
        self.save()
        return self.validate()

    def learn(self) -> Tensor:
        """One step: the gradient of one batch, and what the optimizer makes of it. Returns the batch's loss.

        Nobody looks at it here: a GPU is given the next step while it is still busy with this one.
        """
        plan = self.plan
        loss = self.lesson.loss(self.step)
        for group in self.optimizer.param_groups:
            group["lr"] = plan.learning_rate_at(self.step)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.parameters, 1.0)
        self.optimizer.step()
        # Averages of few steps shall forget the beginning sooner (as in Karras et al. 2022).
        decay = min(plan.average_decay, (1 + self.step) / (10 + self.step))
        get_ema_multi_avg_fn(decay)(list(self.average.values()), list(self.parameters), 0)
        return loss.detach()

    def validate(self) -> Path:
        """Write the model as it is now, try it out, and log what came of it."""
        folder = self.plan.out / MODEL
        with self._averaged(), torch.compiler.set_stance("force_eager"):  # other shapes than the steps'
            self.lesson.export(folder)
            held_out = self.lesson.held_out()
        scores = {} if self._tryout is None else {"scores": self._tryout(folder)}
        self.journal.add(step=self.step, **held_out, **scores)
        return folder

    def _validated(self) -> bool:
        """Whether the model was written as it is now: the log says so only after that."""
        logged = any(line["step"] == self.step and "held_out_loss" in line for line in self.journal.lines())
        return logged and (self.plan.out / MODEL / "model_index.json").exists()

    def save(self) -> None:
        """Write a checkpoint. Raises `NonFiniteError` if what was learned since the last one is worth nothing."""
        self._finite_losses()
        kept: dict[str, dict[str, Tensor]] = {"weights": {}, "average": self.average, "exp_avg": {}, "exp_avg_sq": {}}
        for name, parameter in self.named.items():
            kept["weights"][name] = parameter
            for kind in ("exp_avg", "exp_avg_sq"):
                if kind in self.optimizer.state[parameter]:
                    kept[kind][name] = self.optimizer.state[parameter][kind]
        Checkpoint(step=self.step, seconds=self.seconds, fixed=self.plan.fixed(), tensors=kept).write(self.plan.out)

    def _resume(self) -> None:
        remove_unfinished(self.plan.out)
        checkpoint = read_checkpoint(self.plan.out, fixed=self.plan.fixed())
        if checkpoint is None:
            return
        weights = checkpoint.tensors.get("weights", {})
        if {name: tensor.shape for name, tensor in weights.items()} != {n: p.shape for n, p in self.named.items()}:
            raise ModelError(
                f"The checkpoint in `{self.plan.out}` is of other networks than `{self.plan.start}`",
                hint="set `start` back, or choose another folder with `out`",
            )
        self.step, self.seconds = checkpoint.step, checkpoint.seconds
        step_device = self.parameters[0].device if self.optimizer.defaults["fused"] else "cpu"
        with torch.no_grad():
            for name, parameter in self.named.items():
                parameter.copy_(weights[name])
                self.average[name].copy_(checkpoint.tensors["average"][name])
                if self.step:
                    self.optimizer.state[parameter] = {
                        "step": torch.tensor(float(self.step), device=step_device),
                        "exp_avg": checkpoint.tensors["exp_avg"][name].to(parameter.device, copy=True),
                        "exp_avg_sq": checkpoint.tensors["exp_avg_sq"][name].to(parameter.device, copy=True),
                    }

    def _finite_losses(self) -> list[float]:
        """Those of the steps since the last line of the log."""
        losses = torch.stack(self._losses).tolist() if self._losses else []
        for step, loss in enumerate(losses, start=self.step - len(losses)):
            if not isfinite(loss):
                raise NonFiniteError(component=self.lesson.network, step=step, call=0)
        return losses

    def _log(self) -> None:
        losses = self._finite_losses()
        self._losses.clear()
        pictures = self.lesson.seen(self.step)
        rate = self.plan.learning_rate_at(self.step - 1)
        loss = sum(losses) / len(losses)
        self.journal.add(
            step=self.step, pictures=pictures, seconds=round(self.seconds), loss=round(loss, 5), learning_rate=rate
        )
        self._watch(
            Progress(
                step=self.step,
                steps=self.plan.steps,
                loss=loss,
                learning_rate=rate,
                pictures_per_second=pictures / max(self.seconds, 1e-9),
            )
        )

    @contextmanager
    def _averaged(self) -> Generator[None]:
        """The networks with their averaged weights, for the length of the block."""
        own = [parameter.detach().clone() for parameter in self.parameters]
        try:
            self._set(list(self.average.values()))
            yield
        finally:
            self._set(own)

    @torch.no_grad()
    def _set(self, values: list[Tensor]) -> None:
        for parameter, value in zip(self.parameters, values, strict=True):
            parameter.copy_(value)


@contextmanager
def _stop_signals() -> Generator[Callable[[], bool]]:
    """Note SIGINT and SIGTERM for the length of the block instead of falling out of a step. A second one ends at once.

    Yields:
        Whether one has come. Threads other than the main one are not told of signals.
    """
    came: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return

    def note(number: int, _frame: object) -> None:
        came.append(number)
        signal.signal(number, before[signal.Signals(number)])

    numbers = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.getsignal(number) for number in numbers}
    try:
        for number in numbers:
            signal.signal(number, note)
        yield lambda: bool(came)
    finally:
        for number in numbers:
            signal.signal(number, before[number])
