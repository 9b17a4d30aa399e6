"""A request on its way: its model, the conditioning that its pictures share, and the pictures one by one."""

import threading
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol

import torch
from PIL import Image

from gesso.components.journal import Journal
from gesso.components.scope import ImageScope, entered
from gesso.components.state import CallState
from gesso.components.steering import TextSteering
from gesso.components.trace import Placements, TraceRecorder
from gesso.components.turns import Turn, Turns
from gesso.core.errors import CancelledError, ClosedError, DeadlineError, GessoError, drop_frames
from gesso.core.events import Cancelled, Completed, Failed, ImageCompleted, ImageStarted, Warned
from gesso.core.recipe import AdapterReport, EmbeddingReport, Fingerprint
from gesso.core.requests import ResolvedImageRequest
from gesso.core.settings import Settings
from gesso.engine.adapters import AppliedAdapters
from gesso.engine.edit.start import Start, start_of
from gesso.engine.edit.strength import as_counted
from gesso.engine.fingerprint import fingerprint_of
from gesso.engine.guidance.steering import guidance_steering
from gesso.engine.handle import Handle, Picture, Result
from gesso.engine.hires.second import SecondPass
from gesso.engine.hosted_model import HostedModel, hosted_component
from gesso.engine.inversions import AppliedInversions
from gesso.engine.make import all_states, lasting_states, make_image, picture_of, tiled_vaes
from gesso.engine.pool import ImagePool
from gesso.engine.preparation import Prepared, RememberedText, TextOfPictures, texts_of
from gesso.engine.previews import Preview
from gesso.engine.prompting import Conditioning, conditioning, is_guided, lasting_text, text_key
from gesso.engine.refiner.steering import REFINER, RefinerSteering
from gesso.engine.resume import RequestJournal
from gesso.engine.streams import news
from gesso.engine.vaes import ChosenVaes


class Workshop(Protocol):
    """What a job needs of the studio that runs it."""

    settings: Settings
    pool: ImagePool
    turns: Turns

    def hosted(self, resolved: ResolvedImageRequest, job: "Job") -> AbstractContextManager[HostedModel]:
        """The model of a request, in memory for the length of the block; `job` is told of the loading."""
        ...

    def applied(
        self, model: HostedModel, resolved: ResolvedImageRequest, job: "Job"
    ) -> AbstractContextManager[AppliedAdapters]:
        """The adapters of a text on its model, for the length of the block; `job` is told what does not fit."""
        ...

    def inversions(self, model: HostedModel, resolved: ResolvedImageRequest, job: "Job") -> AppliedInversions:
        """The embeddings of a text on its model; `job` is told of those without effect."""
        ...

    def vaes(self, model: HostedModel, job: "Job") -> AbstractContextManager[ChosenVaes]:
        """The VAEs of a request that stand in for its model's own, for the length of the block."""
        ...

    def refiner(self, resolved: ResolvedImageRequest, job: "Job") -> AbstractContextManager[HostedModel | None]:
        """The refiner of a request, likewise; `None` without one."""
        ...

    def inversions_for(self, refiner: HostedModel, resolved: ResolvedImageRequest, job: "Job") -> AppliedInversions:
        """Those embeddings of a text that fit a refiner; `job` is told of the others."""
        ...

    def preview(self, model: HostedModel, resolved: ResolvedImageRequest) -> AbstractContextManager[Preview | None]:
        """What makes small pictures of those of a request while they become, for the length of the block."""
        ...

    def weights_identity(self, model: HostedModel, *, wait: bool) -> str:
        """Identity of the weights of a model; `pending` if it is not known and not waited for."""
        ...

    def forget(self, handle: Handle) -> None:
        """The request of `handle` has ended."""
        ...


@dataclass(kw_only=True)
class Job:
    """One request as the pool runs it. Its methods are called from many threads.

    Attributes:
        indices: the pictures still to be made; all of them but where a journal has some already.
        placements: when replaying, where each call ran.
        deadline: on the workers' clock, seconds.
    """

    studio: Workshop
    handle: Handle
    indices: list[int]
    placements: Placements | None = None
    journal: RequestJournal | None = None
    deadline: float | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _started: int = 0
    _ended: int = 0
    _model: HostedModel | None = None
    _vaes: ChosenVaes | None = None
    _refiner: HostedModel | None = None
    _preview: Preview | None = None
    _second_preview: Preview | None = None
    _texts: dict[int, TextOfPictures] = field(default_factory=dict[int, TextOfPictures])
    _prepared_first: bool = False
    _adapter_reports: dict[str, AdapterReport] = field(default_factory=dict[str, AdapterReport])
    _embedding_reports: dict[str, EmbeddingReport] = field(default_factory=dict[str, EmbeddingReport])
    _start: Start | None = None
    _warnings: list[str] = field(default_factory=list)
    _error: BaseException | None = None
    _resources: ExitStack = field(default_factory=ExitStack)
    _timer: threading.Timer | None = None

    def __post_init__(self) -> None:
        self._texts = texts_of(self.handle.resolved, self.indices)

    @property
    def priority(self) -> int:
        return self.handle.resolved.priority

    def remaining(self) -> int:
        return 0 if self._error is not None else len(self.indices) - self._started

    def ready(self) -> bool:
        """The first picture loads the model and computes the conditioning for all that read the same."""
        return self.remaining() > 0 and (self._started == 0 or self._prepared_first)

    def started(self) -> int:
        return self._started

    def start(self) -> Callable[[], None]:
        with self._lock:
            index = self.indices[self._started]
            self._started += 1
        return lambda: self._run(index)

    def warn(self, message: str) -> None:
        """Tell the reader something; it is also kept in the recipes made from now on."""
        with self._lock:
            if message in self._warnings:
                return
            self._warnings.append(message)
        self.handle.publish(news(Warned, message=message))

    def fail(self, error: BaseException) -> None:
        """End the request; its other pictures stop at their next component call."""
        with self._lock:
            if self._error is None:
                self._error = error
        self.handle.cancel_token.cancel()
        self._finish_if_ended()

    def cancel_waiting(self) -> None:
        """The request was cancelled: pictures that wait for room are not started any more."""
        self.fail(CancelledError())

    def watch_deadline(self, seconds: float) -> None:
        """End the request after so many seconds, also while its pictures wait for room."""
        self._timer = threading.Timer(seconds, lambda: self.fail(DeadlineError(seconds)))
        self._timer.daemon = True
        self._timer.start()

    def finish_if_empty(self) -> None:
        """A journal may hold every picture already."""
        if not self.indices:
            self._finish_if_ended()

    def _run(self, index: int) -> None:
        torch.get_num_threads()  # a thread's first use of torch takes over the count that any thread set last
        torch.set_num_threads(1)  # the count is this thread's own: the networks run on the worker's threads
        try:
            self._make(index)
        except BaseException as error:  # the boundary: whatever happened to a picture belongs to its request
            drop_frames(error)  # they hold networks and latents, and whoever keeps the handle keeps the error
            self.fail(error if isinstance(error, Exception) else _exited(error))
        finally:
            text = self._texts[index]
            with self._lock:
                self._ended += 1
                text.users -= 1
                unused = text.users == 0
            if unused:
                text.close()
            self._finish_if_ended()

    def _make(self, index: int) -> None:
        if self._error is not None:
            return  # the request ended while this picture was being started
        model, text = self._prepared(index)
        self._prepared_first = True
        self.studio.pool.wake()  # the conditioning is there: brothers of this picture may start
        self.handle.publish(news(ImageStarted, image=index))
        self.handle.add_picture(self._picture(model, text, index))
        self.handle.publish(news(ImageCompleted, image=index))

    def _prepared(self, index: int) -> tuple[HostedModel, TextOfPictures]:
        if self._model is None:
            self._model = self._resources.enter_context(self.studio.hosted(self.handle.resolved, self))
            self._start = start_of(self.handle.asked, self.handle.resolved, self._model.facts)
            for line in () if self._start is None else self._start.warnings:
                self.warn(line)
            self._refiner = self._resources.enter_context(self.studio.refiner(self.handle.resolved, self))
            self._vaes = self._resources.enter_context(self.studio.vaes(self._model, self))
            resolved = self.handle.resolved
            self._preview = self._resources.enter_context(self.studio.preview(self._model, resolved))
            if resolved.hires is not None:
                second = self.studio.preview(self._model, resolved.second())
                self._second_preview = self._resources.enter_context(second)
        text = self._texts[index]
        with text.making:
            if text.prepared is None:
                text.first = index
                text.prepared = self._prepare(self._model, text, index)
        return self._model, text

    def _prepare(self, model: HostedModel, text: TextOfPictures, index: int) -> Prepared:
        adapters = text.resources.enter_context(self.studio.applied(model, text.resolved, self))
        scope = self._scope(model, text, adapters, index, trace=text.trace)
        scope.journal = self._calls(model, text, text.name)
        inversions = self.studio.inversions(model, text.resolved, self)
        scope.call_states = all_states(scope.call_states, inversions.states)
        made = self._read(model, text, scope, inversions)
        second = self._read_second(model, text, scope, inversions, made)
        refined = None if self._refiner is None else self._read_refined(self._refiner, text, scope)
        with self._lock:
            self._adapter_reports |= {report.model_dump_json(): report for report in adapters.reports}
            self._embedding_reports |= {report.model_dump_json(): report for report in inversions.reports}
        return Prepared(
            adapters=adapters, embeddings=inversions.reports, conditioning=made, second=second, refined=refined
        )

    def _read(
        self, model: HostedModel, text: TextOfPictures, scope: ImageScope, inversions: AppliedInversions
    ) -> Conditioning:
        """The conditioning of a text: as it was read lately, or read now."""
        resolved = as_counted(text.resolved, flow=model.facts.flow)
        image = self._seen_by(model)
        key = text_key(resolved, scope.call_states, guided=is_guided(resolved, model.facts), image=image)
        own = self.placements is not None or self.journal is not None
        if not own and (found := model.texts.find(key)) is not None:
            text.trace = found.trace
            return found.conditioning
        made = _conditioned(model, resolved, scope, inversions, image=image)
        if model.facts.own_conditioning and (resolved.exact or text.trace.alone()):
            model.texts.keep(key, RememberedText(conditioning=made, trace=text.trace), size_bytes=made.size_bytes)
        return made

    def _seen_by(self, model: HostedModel) -> Image.Image | None:
        """The picture that the text encoder of a model reads beside the words."""
        family = model.description.family
        if self._start is None or family is None or not family.reads_picture:
            return None
        return self._start.image if isinstance(self._start.image, Image.Image) else None

    def _read_second(
        self,
        model: HostedModel,
        text: TextOfPictures,
        scope: ImageScope,
        inversions: AppliedInversions,
        first: Conditioning,
    ) -> Conditioning | None:
        """The conditioning of the second pass: that of the first, where its texts are read alike."""
        if text.resolved.hires is None:
            return None
        own, made_before = _last_pass(text.resolved, flow=model.facts.flow)
        lasting = lasting_text(as_counted(text.resolved, flow=model.facts.flow))
        alike = lasting is not None and lasting == lasting_text(own, made=made_before)
        if alike and is_guided(own, model.facts) == is_guided(text.resolved, model.facts):
            return first
        return self._read_further(model, own, text, scope, inversions, made_before=made_before)

    def _read_refined(self, refiner: HostedModel, text: TextOfPictures, scope: ImageScope) -> Conditioning:
        """The conditioning of the last pass as the refiner reads it."""
        own, made_before = _last_pass(text.resolved, flow=refiner.facts.flow)
        inversions = self.studio.inversions_for(refiner, own, self)
        with scope.elsewhere(REFINER, inversions.states):
            return self._read_further(refiner, own, text, scope, inversions, made_before=made_before)

    def _read_further(
        self,
        model: HostedModel,
        resolved: ResolvedImageRequest,
        text: TextOfPictures,
        scope: ImageScope,
        inversions: AppliedInversions,
        *,
        made_before: int,
    ) -> Conditioning:
        text.trace = scope.trace = TraceRecorder(before=text.trace)  # that of the first text may be remembered
        return _conditioned(model, resolved, scope, inversions, made_before=made_before)

    def _scope(
        self, model: HostedModel, text: TextOfPictures, adapters: AppliedAdapters, index: int, *, trace: TraceRecorder
    ) -> ImageScope:
        resolved = text.resolved
        assert self._vaes is not None
        return ImageScope(
            request_id=self.handle.id,
            image=index,
            owner=resolved.owner,
            priority=resolved.priority,
            exact=resolved.exact,
            deadline=self.deadline,
            deadline_seconds=self.handle.asked.deadline_seconds or 0.0,
            clock=model.worker.clock,
            cancel=self.handle.cancel_token,
            call_states=self._states(model, adapters, 0.0),
            stand_ins=self._vaes.stand_ins,
            placements=self.placements,
            journal=self._calls(model, text, f"{index:05d}"),
            trace=trace,
            turn=Turn(self.studio.turns),
            meter=text.meter_of(index),
        )

    def _states(
        self, model: HostedModel, adapters: AppliedAdapters, share: float
    ) -> Mapping[str, tuple[CallState, ...]]:
        assert self._vaes is not None
        lasting = lasting_states(model, self.handle.resolved, self._tiled(model), self._vaes)
        return all_states(lasting, adapters.states(share))

    def _tiled(self, model: HostedModel) -> tuple[str, ...]:
        assert self._vaes is not None
        return tiled_vaes(model, self.handle.resolved, self.studio.settings, self._vaes)

    def _calls(self, model: HostedModel, text: TextOfPictures, name: str) -> Journal | None:
        if self.journal is None:
            return None
        # Other weights, versions or threads would mix their bytes with those that are kept.
        return self.journal.calls(name, run=self._fingerprint(model, text, wait=True).model_dump_json())

    def _fingerprint(self, model: HostedModel, text: TextOfPictures, *, wait: bool) -> Fingerprint:
        return fingerprint_of(
            text.resolved,
            model.worker,
            weights=self.studio.weights_identity(model, wait=wait),
            vae_tiling=bool(self._tiled(model)),
            backend=_backends(model),
            refiner="" if self._refiner is None else self.studio.weights_identity(self._refiner, wait=wait),
        )

    def _picture(self, model: HostedModel, text: TextOfPictures, index: int) -> Picture:
        prepared = text.prepared
        assert prepared is not None
        trace = TraceRecorder(before=text.trace)
        scope = self._scope(model, text, prepared.adapters, index, trace=trace)
        steering = prepared.conditioning.steering
        if text.resolved.hires is None:
            steering = self._refined(steering, prepared, scope)
        scope.steering = guidance_steering(steering, text.resolved, model, scope)
        try:
            with scope.turn:
                image = make_image(
                    model,
                    self.handle.resolved.for_image(index),
                    prepared.conditioning.arguments,
                    scope,
                    publish=self.handle.publish,
                    warn=self.warn,
                    preview=self._preview,
                    states=partial(self._states, model, prepared.adapters),
                    start=self._start,
                    second=self._second(model, text, prepared, scope),
                )
        finally:
            model.worker.leave(scope)
        return picture_of(
            image,
            scope,
            asked=self.handle.asked,
            resolved=text.resolved,
            fingerprint=self._fingerprint(model, text, wait=self.placements is not None),
            warnings=tuple(self._warnings),
            adapters=prepared.adapters.reports,
            embeddings=prepared.embeddings,
        )

    def _second(
        self, model: HostedModel, text: TextOfPictures, prepared: Prepared, scope: ImageScope
    ) -> SecondPass | None:
        if prepared.second is None:
            return None
        steering = self._refined(prepared.second.steering, prepared, scope)
        return SecondPass(
            arguments=prepared.second.arguments,
            steering=guidance_steering(steering, text.resolved.second(), model, scope),
            states=partial(self._states, model, prepared.adapters),
            preview=self._second_preview,
        )

    def _refined(
        self, steering: Mapping[str, TextSteering], prepared: Prepared, scope: ImageScope
    ) -> Mapping[str, TextSteering]:
        """`steering` of the last pass, with the refiner of the request behind it."""
        refiner, resolved = self._refiner, self.handle.resolved
        if refiner is None or prepared.refined is None:
            return steering
        assert resolved.refiner is not None
        assert self._vaes is not None
        return {
            name: RefinerSteering(
                own=own,
                refined=prepared.refined.steering[name],
                network=refiner.network(name),
                at=resolved.refiner.at,
                scored=bool(refiner.init_options.get("requires_aesthetics_score")),
                states=lasting_states(refiner, resolved, (), self._vaes),
                scope=scope,
            )
            for name, own in steering.items()
        }

    def _finish_if_ended(self) -> None:
        with self._lock:
            running = self._started - self._ended
            if running or (self._error is None and self._ended < len(self.indices)) or self.handle.done():
                return
            error = self._error
            for text in self._texts.values():
                text.close()
            self._resources.close()
            # A handle may be kept for long; a model that left shall be gone.
            self._model = self._refiner = self._vaes = self._preview = self._second_preview = self._start = None
            if self._timer is not None:
                self._timer.cancel()
            # Inside the lock, so that the request ends once whoever comes here last.
            if error is None:
                warnings = tuple(self._warnings)
                self.handle.publish(news(Completed))
                result = Result(
                    pictures=tuple(self.handle.pictures),
                    settings=self.studio.settings,
                    warnings=warnings,
                    adapters=tuple(self._adapter_reports.values()),
                    embeddings=tuple(self._embedding_reports.values()),
                )
                self.handle.finish(result)
            else:
                self.handle.publish(_ending(error))
                self.handle.finish(None, error)
        self.studio.forget(self.handle)


def _conditioned(
    model: HostedModel,
    resolved: ResolvedImageRequest,
    scope: ImageScope,
    inversions: AppliedInversions,
    *,
    made_before: int = 0,
    image: Image.Image | None = None,
) -> Conditioning:
    """A text, read now by the text encoders of a model."""
    try:
        with entered(scope), scope.turn, torch.no_grad():
            made = conditioning(model, resolved, inversions, made=made_before, image=image)
            scope.settle()
    finally:
        model.worker.leave(scope)
    return made


def _last_pass(resolved: ResolvedImageRequest, *, flow: bool) -> tuple[ResolvedImageRequest, int]:
    """The pass that the picture comes from, as its prompts count its steps, and the steps before it."""
    first = as_counted(resolved, flow=flow)
    if resolved.hires is None:
        return first, 0
    return resolved.second().model_copy(update={"steps": resolved.hires.steps}), first.steps


def _exited(error: BaseException) -> GessoError:
    """What `sys.exit` in a model's own code comes to: raised as it is, it would end the program of who waits."""
    return GessoError(f"The code of the model ended its thread: {type(error).__name__} {error}")


def _ending(error: BaseException) -> Any:
    if isinstance(error, CancelledError):
        return news(Cancelled)
    hint = error.hint if isinstance(error, GessoError) else None
    return news(Failed, error=type(error).__name__, message=str(error), hint=hint)


def _backends(model: HostedModel) -> str:
    names = {hosted_component(module).backend.name for module in model.modules.values()}
    return "+".join(sorted(names))


def closed_error() -> ClosedError:
    """What requests get that were still waiting when the studio closed."""
    return ClosedError("The studio was closed before the request was done")
