"""The public door: a studio takes requests and gives pictures."""

import atexit
import logging
import os
import secrets
import threading
import uuid
import weakref
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from gesso.components.hosting import Hosting
from gesso.components.residency import Residency
from gesso.components.trace import Placements
from gesso.components.turns import Turns
from gesso.components.worker import DeviceWorker
from gesso.core.errors import ClosedError, GessoError, InputError, ModelError
from gesso.core.events import Event, ModelLoading, Queued
from gesso.core.requests import (
    MAX_SEED,
    HiresPass,
    ImageRequest,
    OutputFormat,
    PictureUse,
    Precision,
    PromptDialect,
    RefinerUse,
    ResolvedImageRequest,
    ResolvedVae,
)
from gesso.core.settings import Settings, load_settings
from gesso.devices import choose
from gesso.devices.base import Device
from gesso.devices.cpu import usable_cores
from gesso.engine.adapter_files import AdapterFiles
from gesso.engine.adapters import AdapterShelf, AppliedAdapters, applied
from gesso.engine.edit.checks import read_pictures
from gesso.engine.explaining import Explanation, explain, with_blank_pictures
from gesso.engine.facts import ModelFacts, facts_of
from gesso.engine.foreign.fitting import fitted
from gesso.engine.foreign.values import ForeignRecipe
from gesso.engine.handle import Handle, Result
from gesso.engine.hires.checks import idle_chance
from gesso.engine.hires.enlarge import enlarged
from gesso.engine.hires.upscalers import LANCZOS
from gesso.engine.hosted_model import DTYPES, HostedModel
from gesso.engine.inversion_files import InversionFacts, InversionFiles
from gesso.engine.inversions import AppliedInversions, apply_inversions, fitting_embeddings
from gesso.engine.job import Job, closed_error
from gesso.engine.model_cache import ModelCache
from gesso.engine.named_networks import named_networks
from gesso.engine.pictures import read_recipe
from gesso.engine.placing import plan_for
from gesso.engine.pool import ImagePool
from gesso.engine.previews import Preview, linear_preview, tiny_preview
from gesso.engine.refiner.checks import check_refiner
from gesso.engine.resolve import resolve
from gesso.engine.resume import RequestJournal
from gesso.engine.streams import Dispatcher, news
from gesso.engine.texts.styles import Styles
from gesso.engine.texts.wildcards import Wildcards
from gesso.engine.texts.wording import Worder
from gesso.engine.vae_files import VaeFacts, VaeFiles
from gesso.engine.vaes import ChosenVaes, HostedVae, chosen_vaes, host_vae
from gesso.models import load as model_loading
from gesso.models.folder import ModelDescription
from gesso.models.identity import PENDING, stamp
from gesso.models.store import ModelStore
from gesso.primer import weights_folder

logger = logging.getLogger(__name__)


class Studio:
    """Makes pictures. Safe to use from many threads; a context manager that closes itself.

    Example:
        >>> with Studio() as studio:  # doctest: +SKIP
        ...     studio.generate("a red circle", seed=1, steps=20).save("circle.png")

    Args:
        settings: read from the environment and the settings files if not given.
    """

    def __init__(self, settings: Settings | None = None) -> None:
        torch.get_num_threads()  # fixes the caller's own count, which threads that start later would else inherit
        self.settings = settings or load_settings()
        self.store = ModelStore(self.settings, bundled={"primer": weights_folder()})
        self.pool = ImagePool(max_images=self.settings.max_images)
        self.turns = Turns()
        self._identities = self.store.identities
        self._adapter_files = AdapterFiles(self.store, self._identities)
        self._inversion_files = InversionFiles(self.store, self._identities)
        self.styles = Styles(self.settings.style_files)
        self.wildcards = Wildcards(self.settings.wildcard_folders)
        self._worder = Worder(self.styles, self.wildcards)
        self._adapters = AdapterShelf()
        self._models = ModelCache[HostedModel](max_models=self.settings.max_models)
        self._vae_files = VaeFiles(self.store, self._identities, self.settings.cache_folder)
        self._vaes = ModelCache[HostedVae](max_models=self.settings.max_models)
        self._hosting = Hosting()
        self._dispatcher = Dispatcher(lambda error: logger.error("A listener failed", exc_info=error))
        self._lock = threading.Lock()
        self._workers: dict[str, DeviceWorker] = {}
        self._handles: dict[str, tuple[Handle, Job]] = {}
        self._closed = False
        self._process = os.getpid()
        # The interpreter ends threads where they stand; in the middle of a forward, that aborts the process.
        atexit.register(_close_at_exit, weakref.ref(self))
        self._unused_gpu = choose.unused_gpu()

    def generate(self, prompt: str = "", **fields: Any) -> Result:
        """Make pictures and wait for them.

        Args:
            prompt: what shall be on them.
            fields: further fields of `ImageRequest`.

        Raises:
            pydantic.ValidationError: a field is unknown or of the wrong type.
            GessoError: the request was refused or failed; it says why.
        """
        return self.submit(ImageRequest(prompt=prompt, **fields)).result()

    def upscale(
        self,
        picture: "str | os.PathLike[str] | Image.Image | PictureUse",
        *,
        scale: float | None = None,
        size_px: tuple[int, int] | None = None,
        upscaler: str = LANCZOS,
        warn: Callable[[str], None] | None = None,
    ) -> Image.Image:
        """A picture made larger without a model; see `enlarged`. To paint it once more at that size, ask `generate` for
        the `image` at its `width` and `height`, with a small `strength`."""
        return enlarged(picture, scale=scale, size_px=size_px, upscaler=upscaler, warn=warn)

    def submit(
        self,
        request: ImageRequest,
        *,
        listener: Callable[[Event], None] | None = None,
        journal: Path | None = None,
    ) -> Handle:
        """Accept a request and return at once.

        Args:
            listener: called for each event, on a thread of its own.
            journal: a folder for the outputs of finished component calls; given again after a crash, the request goes
                on where it was.

        Raises:
            GessoError: the request cannot be done as asked; nothing has run.
        """
        self._refuse_forked()
        kept = RequestJournal(journal) if journal is not None else None
        resolved = self.resolve(request) if kept is None else kept.resume(request, lambda: self.resolve(request))
        return self._start(request, resolved, listener=listener, journal=kept)

    def run_again(
        self, asked: ImageRequest, resolved: ResolvedImageRequest, placements: Placements, *, index: int
    ) -> Handle:
        """Run picture `index` of a resolved request with its rows in the recorded slots, apart from everything else.

        What was resolved is read from a file of anybody's, so it is checked like what is asked.
        """
        self._refuse_forked()
        resolved = resolved.read_by(index)
        fields: dict[str, Any] = resolved.model_dump() | {"adapters": [adapter.use() for adapter in resolved.adapters]}
        fields |= (
            resolved.vaes() | resolved.pictures() | {"styles": (), "dynamic": False, "wildcard_seed": None}
        )  # the texts are decided
        fields["hires"] = None if resolved.hires is None else resolved.hires.use()
        fields["refiner"] = None if resolved.refiner is None else resolved.refiner.use()
        decided = {name: fields[name] for name in ImageRequest.model_fields if name in fields}
        checked = self.resolve(ImageRequest(**decided, embeddings_by_name=False))
        if checked.pipeline != resolved.pipeline:
            raise InputError(
                f"The recipe asks for the pipeline `{resolved.pipeline}`; `{checked.model}` does this with "
                f"`{checked.pipeline}`",
                hint="the recipe or the model was changed: `gesso generate --from` makes the picture anew",
            )
        return self._start(asked, resolved, placements=placements, indices=[index])

    def resolve(self, request: ImageRequest) -> ResolvedImageRequest:
        """What would be done. Raises like `submit`."""
        asked = request.model if request.model is not None else self.settings.model
        description = self.store.find(asked, request.parts)
        facts = facts_of(description, asked=asked, parts=request.parts)
        device = choose.choose(request.device if request.device is not None else self.settings.device)
        seed, variation_seed = (secrets.randbelow(MAX_SEED + 1) for _ in range(2))
        vaes = self._vae_files.chosen(request, description)
        refiner = None if request.refiner is None else self._refiner_facts(request.refiner, description)
        given = read_pictures(request)

        def decided(request: ImageRequest, dynamic: bool) -> ResolvedImageRequest:
            """What will be done of a request whose texts are those of a picture."""
            own = request.adapters
            networks = named_networks(request, facts, self._adapter_files)
            request = networks.request
            named: list[InversionFacts] = []
            if request.embeddings_by_name:
                second = request.hires or HiresPass()
                texts = (request.prompt, request.negative_prompt, second.prompt, second.negative_prompt)
                named, _ = self._inversion_files.named_in(tuple(text or "" for text in texts))
            return resolve(
                request,
                facts,
                device,
                self.settings,
                seed=seed,
                variation_seed=variation_seed,
                adapters=[self._adapter_files.facts(use) for use in own] + list(networks.adapters),
                adapters_in_prompt=len(networks.adapters),
                missing=networks.missing,
                embeddings=[self._inversion_files.facts(use) for use in request.embeddings],
                named_embeddings=named,
                vaes=vaes,
                dynamic=dynamic,
                given=given,
                refiner=refiner,
            )

        return self._worder.each(request, facts, decided, seed=seed)

    def _refiner_facts(self, use: RefinerUse, model: ModelDescription) -> ModelFacts:
        found = self.store.find(use.model)
        check_refiner(model, found)
        return facts_of(found, asked=use.model, finishes=True)

    def recipe_of(self, picture: Path, **overrides: Any) -> ForeignRecipe:
        """What AUTOMATIC1111, Forge, SD.Next or ComfyUI left in a picture, for the models that are here.

        Its `again(**overrides)` is the request that makes the picture once more, `left_out` what it lacks.

        Args:
            picture: the file.
            overrides: fields of the request that shall have other values.

        Raises:
            InputError: the file is no picture, or none that says how another program made it.
        """
        found = read_recipe(picture)
        recipe = None if found.recipe is not None else found.foreign
        if recipe is None:
            own = "is Gesso's own" if found.recipe is not None else "does not say how it was made"
            hint = "`read_recipe(picture).recipe.again()` asks for it once more" if found.recipe is not None else None
            raise InputError(f"`{picture}` {own}", hint=hint)
        return fitted(recipe, self.store, overrides, usual=self.settings.model)

    def explain(self, request: ImageRequest) -> Explanation:
        """How the prompts of a request would be read. Raises like `submit`; no network is loaded."""
        asked = request.model if request.model is not None else self.settings.model
        request = with_blank_pictures(request, facts_of(self.store.find(asked, request.parts)))
        resolved = self.resolve(request)
        description = self.store.find(resolved.model, resolved.parts)
        inversions = apply_inversions(
            facts_of(description), request, resolved, self._inversion_files, lambda line: logger.info(line)
        )
        return explain(resolved, description, inversions.words)

    def _start(
        self,
        asked: ImageRequest,
        resolved: ResolvedImageRequest,
        *,
        listener: Callable[[Event], None] | None = None,
        journal: RequestJournal | None = None,
        placements: Placements | None = None,
        indices: list[int] | None = None,
    ) -> Handle:
        handle = Handle(str(uuid.uuid4()), asked, resolved, dispatcher=self._dispatcher, listener=listener)
        done = journal.saved() if journal is not None else {}
        wanted = list(range(resolved.count)) if indices is None else indices
        worker = self._worker(choose.choose(resolved.device))
        seconds = asked.deadline_seconds
        job = Job(
            studio=self,
            handle=handle,
            indices=[index for index in wanted if index not in done],
            placements=placements,
            journal=journal,
            deadline=None if seconds is None else worker.clock.now() + seconds,
        )
        with self._lock:
            if self._closed:
                raise ClosedError("The studio is closed")
            self._handles[handle.id] = (handle, job)
        handle.publish(news(Queued))
        unused_gpu, self._unused_gpu = self._unused_gpu, None
        if unused_gpu is not None:
            job.warn(unused_gpu)
        self._warn_of_idle_fields(job)
        # A cancelled request must end also while all its pictures still wait for room.
        handle.cancel_token.on_cancel(job.cancel_waiting)
        if seconds is not None:
            job.watch_deadline(seconds)
        self.pool.add(job)
        job.finish_if_empty()
        return handle

    def _warn_of_idle_fields(self, job: Job) -> None:
        resolved = job.handle.resolved
        if job.handle.asked.variation_seed is not None and not resolved.variation_strength:
            job.warn(f"Variation seed {resolved.variation_seed} has no effect at variation strength 0")
        if resolved.refiner is not None and resolved.adapters:
            job.warn(f"Adapters hold for `{resolved.model}`, not for the steps that `{resolved.refiner.model}` makes")
        masked = resolved.outpaint is not None or (resolved.inpaint is not None and resolved.inpaint.keep_outside)
        if masked and resolved.output_format is not OutputFormat.PNG:
            job.warn(f"A {resolved.output_format.upper()} file changes bytes outside the mask too: a PNG keeps them")
        for line in idle_chance(job.handle.asked, resolved):
            job.warn(line)
        texts = resolved.words or (resolved,)
        for tag in dict.fromkeys(tag for text in texts for tag in text.missing):
            job.warn(f"`{tag}` of the prompt is left out: there is no such network here")
        if resolved.dialect is PromptDialect.PLAIN and job.handle.asked.dialect is None and "<lora:" in resolved.prompt:
            job.warn(f"`{resolved.model}` reads prompts as plain text, `<lora:…>` too: use `--lora`")

    @contextmanager
    def hosted(self, resolved: ResolvedImageRequest, job: Job) -> Iterator[HostedModel]:
        """The model of a resolved request, loaded and hosted, for the length of the block."""
        description = self.store.find(resolved.model, resolved.parts)
        # With the stamp, a folder replaced on the disk is another model; requests that use the old one keep it.
        key = (
            f"{description.path} {stamp(description)}",
            resolved.device,
            str(resolved.precision),
            str(resolved.vae_precision),
        )

        def load() -> HostedModel:
            job.handle.publish(news(ModelLoading, model=description.name))
            return self._load(description, resolved, job)

        with self._models.use(key, load) as model:
            yield model

    @contextmanager
    def refiner(self, resolved: ResolvedImageRequest, job: Job) -> Iterator[HostedModel | None]:
        """The refiner of a resolved request, likewise; `None` without one."""
        if resolved.refiner is None:
            yield None
            return
        with self.hosted(resolved.model_copy(update={"model": resolved.refiner.model, "parts": {}}), job) as model:
            yield model

    def _load(self, description: ModelDescription, resolved: ResolvedImageRequest, job: Job) -> HostedModel:
        worker = self._worker(choose.choose(resolved.device))
        plan, room_bytes = plan_for(description, resolved.largest(), worker.device)
        worker.residency.allot(room_bytes, resident_bytes=plan.needed_bytes - plan.workspace_bytes)
        vae, others = DTYPES[resolved.vae_precision], DTYPES[resolved.precision]
        read = stamp(description)
        identity = self._identities.digest_or_pending(description)
        loaded = model_loading.load(
            description,
            dtypes={name: vae if name == "vae" else others for name in description.components},
            device=worker.device.name,
            safety_checker=self.settings.safety_checker,
            trust_remote_code=self.settings.trust_remote_code,
        )
        if stamp(description) != read:
            raise ModelError(
                f"`{description.path}` was changed while it was being read",
                hint="ask again once the whole model is in its place",
            )
        for warning in loaded.warnings:
            job.warn(warning)
        return HostedModel(
            loaded,
            facts_of(description, finishes=True),
            identity=identity,
            hosting=self._hosting,
            worker=worker,
            plan=plan,
            settings=self.settings,
            listener=logger.warning,
        )

    def applied(
        self, model: HostedModel, resolved: ResolvedImageRequest, job: Job
    ) -> AbstractContextManager[AppliedAdapters]:
        """The adapters of a text on its model, read and fitted, for the length of the block."""
        return applied(model, resolved, self._adapters, self._adapter_files, job.warn)

    def inversions(self, model: HostedModel, resolved: ResolvedImageRequest, job: Job) -> AppliedInversions:
        """The embeddings of a text on its model."""
        return apply_inversions(model.facts, job.handle.asked, resolved, self._inversion_files, job.warn)

    def inversions_for(self, refiner: HostedModel, resolved: ResolvedImageRequest, job: Job) -> AppliedInversions:
        """Those embeddings of a text that fit a refiner."""
        fitting = fitting_embeddings(refiner.facts, resolved, self._inversion_files, job.warn)
        asked = job.handle.asked.model_copy(update={"embeddings_by_name": False})  # what did not fit was told
        resolved = resolved.model_copy(update={"embeddings": fitting})
        return apply_inversions(refiner.facts, asked, resolved, self._inversion_files, job.warn)

    def vaes(self, model: HostedModel, job: Job) -> AbstractContextManager[ChosenVaes]:
        """The VAEs of a request that stand in for its model's own, hosted for the length of the block."""
        resolved = job.handle.resolved

        def use(vae: ResolvedVae, stack: ExitStack) -> HostedVae:
            return stack.enter_context(self._hosted_vae(vae, model, resolved))

        return chosen_vaes(model, resolved, use)

    def _hosted_vae(
        self, vae: ResolvedVae, model: HostedModel, resolved: ResolvedImageRequest
    ) -> AbstractContextManager[HostedVae]:
        facts = self._vae_files.facts(vae, model.description)
        return self._vae_in_memory(facts, vae.precision, model, resolved)

    def _vae_in_memory(
        self, facts: VaeFacts, precision: Precision, model: HostedModel, resolved: ResolvedImageRequest
    ) -> AbstractContextManager[HostedVae]:
        described = facts.description.component
        key = (str(sorted(described.config.items())), facts.sha256, resolved.device, str(precision))

        def load() -> HostedVae:
            return host_vae(
                facts,
                precision,
                model.description,
                resolved,
                hosting=self._hosting,
                worker=model.worker,
                listener=logger.warning,
            )

        return self._vaes.use(key, load)

    @contextmanager
    def preview(self, model: HostedModel, resolved: ResolvedImageRequest) -> Iterator[Preview | None]:
        """What makes previews of a request, if the settings want any: a tiny VAE that is here, else a linear map."""
        with ExitStack() as stack:
            preview = linear_preview(model.description, resolved) if self.settings.previews else None
            if self.settings.previews:
                try:
                    facts = self._vae_files.for_previews(model.description)
                    if facts is not None:
                        tiny = stack.enter_context(self._vae_in_memory(facts, resolved.precision, model, resolved))
                        preview = tiny_preview(tiny.component, tiny.description.latent_channels, resolved)
                except GessoError as error:  # pictures may do without
                    logger.warning("Previews are made without a tiny VAE: %s", error)
            yield preview

    def weights_identity(self, model: HostedModel, *, wait: bool) -> str:
        """Identity of the weights that a model was loaded from; `pending` while a large one is still being read.

        Args:
            wait: until it is known.
        """
        if model.identity == PENDING:
            description = model.description
            model.identity = (self._identities.digest if wait else self._identities.digest_or_pending)(description)
        return model.identity

    def _refuse_forked(self) -> None:
        if os.getpid() != self._process:  # the threads that would do the work stayed in the parent
            raise ClosedError(
                "The studio belongs to the process that this one was forked from",
                hint="make a studio in each process, after the fork",
            )

    def _worker(self, device: Device) -> DeviceWorker:
        with self._lock:
            if self._closed:
                raise ClosedError("The studio is closed")
            worker = self._workers.get(device.name)
            if worker is None:
                threads = self.settings.threads or usable_cores()
                residency = Residency(torch.device(device.name))
                worker = self._workers[device.name] = DeviceWorker(device, threads=threads, residency=residency)
            return worker

    def forget(self, handle: Handle) -> None:
        """A request has ended."""
        with self._lock:
            self._handles.pop(handle.id, None)

    def close(self) -> None:
        """Fail everything that waits at once, end the networks' threads. Safe to call again."""
        if os.getpid() != self._process:
            return  # a fork has nothing to end, and its copies of the locks may be held by threads that it lacks
        with self._lock:
            if self._closed:
                return
            self._closed = True
            workers = list(self._workers.values())
            jobs = [job for _, job in self._handles.values()]
        self.pool.close()
        for worker in workers:
            worker.close()
        for job in jobs:
            job.fail(closed_error())
        self.pool.wait(timeout=60)
        self._dispatcher.close()

    def __enter__(self) -> "Studio":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _close_at_exit(studio: "weakref.ref[Studio]") -> None:
    if (still_there := studio()) is not None:
        still_there.close()
