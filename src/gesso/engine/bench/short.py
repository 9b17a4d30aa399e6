"""The short form that `gesso bench` runs: one model, this machine, about a minute.

Three things are measured in turn, round by round, on the same weights: the plain pipeline of diffusers for one
picture, Gesso for one picture, and Gesso for several pictures at once. diffusers runs on the thread of the device's
worker, where hosted networks run straight through, so that a model is never in memory twice.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

import torch
from pydantic import BaseModel, ConfigDict

from gesso.core.errors import ModelError, ResourceError
from gesso.core.requests import ImageRequest, ResolvedImageRequest
from gesso.core.settings import Settings
from gesso.engine.bench.clients import closed_loop
from gesso.engine.bench.figures import Spread, percentile
from gesso.engine.bench.plain import pictures, scheduler_of
from gesso.engine.bench.rows import DenoiserCall, captured, row_scaling
from gesso.engine.handle import Handle
from gesso.engine.hosted_model import HostedModel, hosted_component
from gesso.engine.job import Job
from gesso.engine.streams import Dispatcher
from gesso.engine.studio import Studio

_ROW_SHARE = 0.15
"""Of the time, for bare forwards."""
_MOST_ROUNDS = 1000


class Way(BaseModel):
    """One way of making pictures.

    Attributes:
        seconds: for each picture, the median of the rounds.
        over_diffusers: how many times as many pictures a second as diffusers, round by round: median, least, greatest.
    """

    model_config = ConfigDict(frozen=True)

    name: str
    seconds: float
    per_second: float
    over_diffusers: float
    over_diffusers_low: float
    over_diffusers_high: float
    p95_seconds: float
    """Within which 95 of 100 pictures came, waiting included."""


class Ceiling(BaseModel):
    """What sharing forwards of the denoiser can gain at most.

    Attributes:
        rows_alone: of a forward for one picture.
        rows_together: of a forward for all pictures, as far as the settings let them share.
        gain: how many times cheaper a row is in the larger forward.
    """

    model_config = ConfigDict(frozen=True)

    rows_alone: int
    rows_together: int
    seconds_alone: float
    seconds_together: float
    gain: float


class BenchReport(BaseModel):
    """What was measured and on what. `ceiling` is `None` where it was not, for the reason in `notes`."""

    model_config = ConfigDict(frozen=True)

    model: str
    pipeline: str
    device: str
    precision: str
    threads: int
    width: int
    height: int
    steps: int
    guidance: float
    clients: int
    rounds: int
    diffusers: Way
    alone: Way
    together: Way
    ceiling: Ceiling | None
    notes: tuple[str, ...]


def short_bench(
    settings: Settings, request: ImageRequest, *, clients: int, seconds: float, tell: Callable[[str], None]
) -> BenchReport:
    """Measure for about `seconds`, loading not counted; at least one round, however long it takes.

    Args:
        request: for one picture.
        clients: pictures at once.
        tell: is told, now and then, what is being done.

    Raises:
        GessoError: the request cannot be done.
        ResourceError: the networks take turns in the device's memory, so that diffusers could not run beside them.
    """
    with Studio(settings) as studio:
        resolved = studio.resolve(request)
        tell(f"loading {resolved.model}")
        studio.submit(request).result()
        with _hosted(studio, request, resolved) as model:
            _check_resident(model)
            return _measured(studio, model, request, resolved, clients=clients, seconds=seconds, tell=tell)


def _measured(
    studio: Studio,
    model: HostedModel,
    request: ImageRequest,
    resolved: ResolvedImageRequest,
    *,
    clients: int,
    seconds: float,
    tell: Callable[[str], None],
) -> BenchReport:
    call, reason = _captured(model, resolved)
    rounds = list(_rounds(studio, model, request, resolved, clients, seconds * (1 - _ROW_SHARE), tell))
    plain, alone, together = ([getattr(each, way) for each in rounds] for way in ("plain", "alone", "together"))
    waits = [wait for each in rounds for wait in each.waits]
    tell("bare forwards")
    rows, why = _ceiling(studio, model, call, clients=clients, seconds=seconds * _ROW_SHARE)
    return BenchReport(
        model=resolved.model,
        pipeline=resolved.pipeline,
        device=resolved.device,
        precision=resolved.precision,
        threads=model.worker.threads,
        width=resolved.width,
        height=resolved.height,
        steps=resolved.steps,
        guidance=resolved.guidance,
        clients=clients,
        rounds=len(rounds),
        diffusers=_way("diffusers, one after another", plain, plain, plain),
        alone=_way("Gesso, one alone", alone, plain, alone),
        together=_way(f"Gesso, {clients} together", together, plain, waits),
        ceiling=rows,
        notes=tuple(note for note in (reason, why) if note),
    )


class _Round(NamedTuple):
    """Seconds for each picture of each way, and what the pictures that were made together waited."""

    plain: float
    alone: float
    together: float
    waits: list[float]


def _rounds(
    studio: Studio,
    model: HostedModel,
    request: ImageRequest,
    resolved: ResolvedImageRequest,
    clients: int,
    seconds: float,
    tell: Callable[[str], None],
) -> Iterator[_Round]:
    """Rounds for about `seconds`, at least one. The first prepares kernels: if there is time for another, it is left
    out."""
    asked = [request.model_copy(update={"seed": resolved.seed + index}) for index in range(clients)]
    begun = time.perf_counter()
    for number in range(_MOST_ROUNDS):
        tell("warming up" if number == 0 else f"round {number}")
        start = time.perf_counter()
        plain = _plain_seconds(model, resolved)
        alone = _seconds(lambda: studio.submit(request).result())
        load = closed_loop(lambda index: studio.submit(asked[index]).result(), count=clients, clients=clients)
        now = time.perf_counter()
        room = now - begun + (now - start) <= seconds
        if number or not room:
            yield _Round(plain=plain, alone=alone, together=load.seconds / clients, waits=load.latencies)
        if not room:
            return


def _way(name: str, each: list[float], plain: list[float], waits: list[float]) -> Way:
    """`each`: seconds for each picture, of every round."""
    seconds = Spread.of(each).median
    over = Spread.of([theirs / ours for theirs, ours in zip(plain, each, strict=True)])
    return Way(
        name=name,
        seconds=seconds,
        per_second=1 / seconds,
        over_diffusers=over.median,
        over_diffusers_low=over.low,
        over_diffusers_high=over.high,
        p95_seconds=percentile(waits, 0.95),
    )


@contextmanager
def _hosted(studio: Studio, request: ImageRequest, resolved: ResolvedImageRequest) -> Iterator[HostedModel]:
    """The model in memory for the length of the block."""
    dispatcher = Dispatcher(lambda error: None)
    handle = Handle("bench", request, resolved, dispatcher=dispatcher)
    try:
        with studio.hosted(resolved, Job(studio=studio, handle=handle, indices=[])) as model:
            yield model
    finally:
        dispatcher.close()


def _check_resident(model: HostedModel) -> None:
    if any(hosted_component(module).weights.offloaded for module in model.modules.values()):
        raise ResourceError(
            f"`{model.facts.name}` does not fit into the memory of `{model.worker.device.name}` as a whole, so plain "
            "diffusers cannot be measured beside it",
            hint="choose a smaller model with `--model`",
        )


def _plain_seconds(model: HostedModel, resolved: ResolvedImageRequest) -> float:
    return _seconds(lambda: model.worker.run(lambda: _plain_picture(model, resolved)).result())


def _plain_picture(model: HostedModel, resolved: ResolvedImageRequest) -> None:
    """On the worker's thread."""
    generator = torch.Generator("cpu").manual_seed(resolved.seed)
    scheduler = None
    if model.scheduler_class is not None:
        scheduler = scheduler_of(resolved, model.scheduler_class, model.scheduler_config, generator=generator)
    pictures(model.pipeline(scheduler), [resolved], [generator], model.facts)


def _seconds(job: Callable[[], object]) -> float:
    start = time.perf_counter()
    job()
    return time.perf_counter() - start


def _captured(model: HostedModel, resolved: ResolvedImageRequest) -> tuple[DenoiserCall | None, str | None]:
    """(a call of the denoiser, or why there is none)"""

    def capture() -> DenoiserCall:
        return captured(model.modules, lambda: _plain_picture(model, resolved), device=model.device, dtype=model.dtype)

    try:
        return model.worker.run(capture).result(), None
    except ModelError as error:
        return None, f"{error.message}: pictures gain nothing from each other"


def _ceiling(
    studio: Studio, model: HostedModel, call: DenoiserCall | None, *, clients: int, seconds: float
) -> tuple[Ceiling | None, str | None]:
    """(the ceiling, or why it was not measured)"""
    if call is None:
        return None, None
    device, few = model.worker.device, call.rows
    many = few * min(clients, max(1, studio.settings.max_rows // few))
    if many == few:
        return None, "The pictures share no forwards: they are too few, or the setting `max_rows` is too low"

    def measure() -> Ceiling:
        found = row_scaling(call, (few, many), device=device, seconds=seconds, at_least=1)
        return Ceiling(
            rows_alone=few,
            rows_together=many,
            seconds_alone=found.seconds[few],
            seconds_together=found.seconds[many],
            gain=found.gain(few, many),
        )

    try:
        return model.worker.run(measure).result(), None
    except Exception as error:
        if not device.is_out_of_memory(error):
            raise
        device.empty_cache()
        return None, f"A forward of {many} rows does not fit into the memory of `{device.name}`"
