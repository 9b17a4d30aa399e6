"""Pictures in virtual time: a denoising loop as a generator, and the real queue and executor driven by an event loop.

Nothing here has a thread. A picture yields its next component call; the loop captures, queues, batches and runs it with
the code of the studio, and sends the rows back when the virtual device has got there. Forwards take virtual time by
their rows, and pictures take some between two calls, so that every order of arrivals can be played and repeated.
"""

import heapq
import itertools
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any, Literal

import torch

from bench import Bench, BenchWorker
from gesso.components.batcher import WaitUntil
from gesso.components.call import Call
from gesso.components.scope import ImageScope
from gesso.core.errors import CancelledError, DeadlineError, GessoError
from toys import TOY_LAYOUTS, FakeDevice, ToyDecoder, ToyDenoiser, ToyTextEncoder, VirtualClock, seeded

Request = tuple[str, Mapping[str, Any]]
"""Component and arguments of a call."""

Rule = Literal["euler", "heun", "noisy"]
Ending = Literal["well", "raises", "nan", "cancelled", "late"]

STEP_SECONDS = 1.0
ROW_SECONDS = 0.1
POISON = 4711.0
"""A value of a latent that makes the denoiser raise."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A picture as it shall be made.

    Attributes:
        rule: how a step uses the network: `heun` calls it twice, `noisy` draws noise of its own.
        ending: what becomes of it half-way.
        between_seconds: between an answer and the next call.
    """

    seed: int
    steps: int = 6
    guided: bool = False
    size: int = 8
    rule: Rule = "euler"
    ending: Ending = "well"
    priority: int = 0
    arrival_seconds: float = 0.0
    between_seconds: float = 0.01
    exact: bool = False

    def ends_well(self) -> bool:
        return self.ending == "well"


@dataclass
class Outcome:
    """What became of a picture, and when."""

    plan: Plan
    scope: ImageScope
    picture: torch.Tensor | None = None
    error: BaseException | None = None
    ended_seconds: float | None = None

    def data(self) -> bytes:
        assert self.picture is not None
        return self.picture.numpy().tobytes()

    def foreign_rows(self) -> int:
        segments = [segment for entry in self.scope.trace.entries() for segment in entry.segments]
        return sum(segment.batch_rows - segment.rows for segment in segments)


def program(plan: Plan) -> Generator[Request, Any, torch.Tensor]:
    """The loop of a pipeline, reduced to its calls."""
    generator = torch.Generator().manual_seed(plan.seed)
    pair = 2 if plan.guided else 1
    ids = torch.randint(32, (pair, 5), generator=generator)
    texts = yield "text", {"input_ids": ids}  # [pair, 5, 16]
    latents = torch.randn(1, 4, plan.size, plan.size, generator=generator)
    times = torch.linspace(999, 1, plan.steps)
    for index, time in enumerate(times):
        if index == plan.steps // 2 and plan.ending in ("raises", "nan"):
            latents = torch.full_like(latents, POISON if plan.ending == "raises" else float("nan"))

        def denoise(sample: torch.Tensor, at: torch.Tensor) -> Generator[Request, Any, torch.Tensor]:
            arguments = {"sample": sample.expand(pair, -1, -1, -1), "timestep": at, "encoder_hidden_states": texts}
            output = yield "unet", arguments
            return output[:1] + 2.0 * (output[:1] - output[-1:]) if plan.guided else output

        slope = yield from denoise(latents, time)
        if plan.rule == "heun":
            again = yield from denoise(latents - slope / plan.steps, time - 0.5)
            slope = (slope + again) / 2
        latents = latents - slope / plan.steps
        if plan.rule == "noisy":
            latents = latents + 0.01 * torch.randn(latents.shape, generator=generator)
    picture = yield "vae", {"z": latents, "return_dict": False, "generator": generator}
    return picture[0]


class PoisonedDenoiser(ToyDenoiser):
    """Raises for the value that failing pictures put into their latents."""

    def forward(
        self, sample: torch.Tensor, timestep: torch.Tensor, encoder_hidden_states: torch.Tensor
    ) -> torch.Tensor:
        if bool((sample == POISON).any()):
            raise ValueError("poison")
        return super().forward(sample, timestep, encoder_hidden_states)


@dataclass
class VirtualBackend:
    """Runs the network at once and lets its virtual time go by."""

    clock: VirtualClock
    name: str = "virtual"

    def run(self, module: torch.nn.Module, method: str, arguments: Mapping[str, Any]) -> Any:
        rows = len(next(value for value in arguments.values() if isinstance(value, torch.Tensor)))
        self.clock.time += STEP_SECONDS + ROW_SECONDS * rows
        return module(**arguments) if method == "forward" else getattr(module, method)(**arguments)


@dataclass(order=True)
class _Event:
    time: float
    order: int
    act: Callable[[], None] = field(compare=False)


class VirtualStudio:
    """Text encoder, denoiser and decoder on one virtual device."""

    METHODS: Mapping[str, str] = {"text": "forward", "unet": "forward", "vae": "decode"}

    def __init__(self, **options: Any) -> None:
        self.clock = VirtualClock()
        self.worker = BenchWorker(FakeDevice(clock=self.clock))
        self.benches: dict[str, Bench] = {}
        for seed, (name, network) in enumerate(
            {"text": ToyTextEncoder(), "unet": PoisonedDenoiser(), "vae": ToyDecoder()}.items()
        ):
            layouts = TOY_LAYOUTS[ToyDenoiser if name == "unet" else type(network)]
            self.benches[name] = Bench(
                seeded(network, seed),
                layouts=layouts,
                worker=self.worker,
                name=name,
                backend=VirtualBackend(self.clock),
                **options,
            )
        self._events: list[_Event] = []
        self._order = itertools.count()
        self._event_time = 0.0
        self.longest_idle_wait = 0.0
        self.outcomes: list[Outcome] = []

    def forward_calls(self, name: str) -> int:
        network: Any = self.benches[name].component.module
        return network.control.forward_calls

    def run(self, *plans: Plan) -> list[Outcome]:
        """Make all pictures; their outcomes in the same order."""
        begun = self.clock.now()
        self.outcomes = [Outcome(plan, self._scope(plan, begun)) for plan in plans]
        for outcome in self.outcomes:
            self._at(begun + outcome.plan.arrival_seconds, lambda outcome=outcome: self._start(outcome))
        while True:
            self._act_until(self.clock.now())
            taken = self.worker.batcher.take(self.clock.now())
            if isinstance(taken, list):
                self.worker.executor.run(taken)
            elif self._events:
                after = self._events[0].time if taken is None else min(self._events[0].time, taken.time)
                self._wait(after, waiting=taken)
            elif taken is None:
                return self.outcomes
            else:
                self._wait(taken.time, waiting=taken)

    def _wait(self, until: float, *, waiting: WaitUntil | None) -> None:
        if waiting is not None:
            self.longest_idle_wait = max(self.longest_idle_wait, until - self.clock.now())
        self.clock.time = max(self.clock.time, until)

    def _scope(self, plan: Plan, begun: float) -> ImageScope:
        deadline = begun + plan.arrival_seconds + plan.steps * 0.6 * STEP_SECONDS if plan.ending == "late" else None
        return ImageScope(priority=plan.priority, exact=plan.exact, clock=self.clock, deadline=deadline)

    def _at(self, time: float, act: Callable[[], None]) -> None:
        heapq.heappush(self._events, _Event(time, next(self._order), act))

    def _act_until(self, now: float) -> None:
        while self._events and self._events[0].time <= now:
            event = heapq.heappop(self._events)
            self._event_time = event.time  # before the clock, if it came while the device was busy
            event.act()

    def _start(self, outcome: Outcome) -> None:
        plan, scope = outcome.plan, outcome.scope
        if plan.ending == "cancelled":
            self._at(self.clock.now() + plan.steps * 0.6 * STEP_SECONDS, scope.cancel.cancel)
            scope.cancel.on_cancel(lambda: self._withdraw(scope, CancelledError()))
        if scope.deadline is not None:  # a thread would wait no longer than until then
            self._at(scope.deadline, lambda: self._withdraw(scope, DeadlineError(scope.deadline_seconds)))
        self._go_on(outcome, program(plan), None)

    def _withdraw(self, scope: ImageScope, error: GessoError) -> None:
        for call in self.worker.batcher.remove(scope):
            call.answer.set_exception(error)
        self.worker.batcher.leave(scope)

    def _go_on(self, outcome: Outcome, loop: Generator[Request, Any, torch.Tensor], answer: Any) -> None:
        """Let the picture have its answer and make its next call."""
        try:
            name, arguments = loop.send(answer)
            outcome.scope.check()
            call = self.benches[name].call(scope=outcome.scope, method=self.METHODS[name], **arguments)
        except StopIteration as stop:
            outcome.picture = stop.value
            self._end(outcome, None)
        except GessoError as error:
            self._end(outcome, error)
        else:
            call.answer.add_done_callback(
                lambda _: self._at(
                    self.clock.now() + outcome.plan.between_seconds, lambda: self._answered(outcome, loop, name, call)
                )
            )
            self.worker.batcher.add(call)

    def _answered(self, outcome: Outcome, loop: Generator[Request, Any, torch.Tensor], name: str, call: Call) -> None:
        try:
            output = self.benches[name].finish(call)
        except GessoError as error:
            self._end(outcome, error)
        else:
            self._go_on(outcome, loop, output)

    def _end(self, outcome: Outcome, error: GessoError | None) -> None:
        outcome.error = error
        outcome.ended_seconds = self._event_time
        self.worker.batcher.leave(outcome.scope)


@cache
def _alone(plan: Plan) -> Outcome:
    [outcome] = _quiet_studio().run(plan)
    assert outcome.error is None
    return outcome


@cache
def _quiet_studio() -> VirtualStudio:
    return VirtualStudio()


def solo(plan: Plan) -> Outcome:
    """What the picture is when nobody else is there; what does not determine its pixels is taken out."""
    return _alone(replace(plan, priority=0, arrival_seconds=0.0, between_seconds=0.01))


def drive(plan: Plan, call: Callable[[str, Any], Any]) -> torch.Tensor:
    """Run the loop of a picture, its calls made by `call`."""
    loop = program(plan)
    answer: Any = None
    try:
        while True:
            request: Request = loop.send(answer)
            answer = call(*request)
    except StopIteration as stop:
        return stop.value
