"""What a person sees while pictures are made: one bar on stderr with steps a second, and warnings as they come."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from gesso.cli.output import print_warning
from gesso.core.clock import Clock, MonotonicClock
from gesso.core.events import Event, ImageStarted, ModelLoading, StepCompleted, Warned

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID


@dataclass(kw_only=True)
class Timings:
    """When things happened, as news of them arrived."""

    clock: Clock = field(default_factory=MonotonicClock)
    begun: float = field(init=False)
    loading: float | None = field(default=None, init=False)
    sampling: float | None = field(default=None, init=False)
    last_step: float | None = field(default=None, init=False)
    completed: dict[int, int] = field(default_factory=dict[int, int], init=False)
    """Steps done, by picture."""
    steps_each: int | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        self.begun = self.clock.now()

    def note(self, event: Event) -> None:
        match event:
            case ModelLoading():
                self.loading = self.clock.now()
            case ImageStarted() if self.sampling is None:
                self.sampling = self.clock.now()
            case StepCompleted():
                self.completed[event.image] = event.completed
                self.steps_each = event.total
                self.last_step = self.clock.now()
            case _:
                pass

    @property
    def steps(self) -> int:
        """Steps done, of all pictures together."""
        return sum(self.completed.values())

    @property
    def sampling_seconds(self) -> float | None:
        if self.sampling is None or self.last_step is None or self.last_step <= self.sampling:
            return None
        return self.last_step - self.sampling

    @property
    def steps_per_second(self) -> float | None:
        """Of all pictures together; `None` before the first step."""
        return self.steps / self.sampling_seconds if self.sampling_seconds else None

    def as_dict(self) -> dict[str, float | None]:
        """For JSON: the whole time, and the parts of it that were seen."""
        loading = None if self.loading is None or self.sampling is None else self.sampling - self.loading
        return {
            "total_seconds": _rounded(self.clock.now() - self.begun),
            "loading_seconds": _rounded(loading),
            "sampling_seconds": _rounded(self.sampling_seconds),
            "steps_per_second": _rounded(self.steps_per_second),
        }


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)


class Bar:
    """One bar for all pictures of a request."""

    def __init__(self, progress: "Progress", task: "TaskID", *, count: int, timings: Timings) -> None:
        self._progress = progress
        self._task = task
        self._count = count
        self._timings = timings
        self._said: set[str] = set()

    def show(self, event: Event) -> None:
        """Take one piece of news."""
        self._timings.note(event)
        match event:
            case ModelLoading():
                self._describe(f"loading {event.model}")
            case ImageStarted():
                self._describe("painting" if self._count == 1 else f"painting {event.image + 1} of {self._count}")
            case StepCompleted():
                speed = self._timings.steps_per_second
                self._progress.update(
                    self._task,
                    completed=self._timings.steps,
                    total=event.total * self._count,
                    speed=f"{speed:.1f} steps/s" if speed else "",
                )
            case Warned():
                self.warn(event.message)
            case _:
                pass

    def warn(self, message: str) -> None:
        """Say something once, above the bar."""
        if message in self._said:
            return
        self._said.add(message)
        if self._progress.disable:
            print_warning(message)
        else:
            self._progress.console.print(f"warning: {message}", markup=False, highlight=False, soft_wrap=True)

    def _describe(self, what: str) -> None:
        self._progress.update(self._task, description=what)


@contextmanager
def progress_bar(*, count: int, timings: Timings) -> Iterator[Bar]:
    """A bar on stderr while the block runs; nothing but warnings where stderr is not a terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    progress = Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[speed]}", markup=False),
        TimeRemainingColumn(),
        console=console,
        disable=not console.is_terminal,
        redirect_stdout=False,  # results belong to stdout, also while the bar stands
        redirect_stderr=False,
    )
    task = progress.add_task("starting", total=None, speed="")
    with progress:
        yield Bar(progress, task, count=count, timings=timings)


@contextmanager
def byte_bar(doing: str, total_bytes: int | None = None, *, shown: bool = True) -> Iterator[Callable[[int], None]]:
    """A bar on stderr of the bytes that the block tells of; nothing where stderr is not a terminal.

    Args:
        total_bytes: `None` where nobody knows.
    """
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    console = Console(stderr=True)
    progress = Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        DownloadColumn(binary_units=True),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
        console=console,
        disable=not (shown and console.is_terminal),
        redirect_stdout=False,
        redirect_stderr=False,
    )
    task = progress.add_task(doing, total=total_bytes)
    with progress:
        yield lambda count: progress.advance(task, count)
