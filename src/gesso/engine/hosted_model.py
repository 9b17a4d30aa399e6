"""A model in memory: its networks hosted, everything else shared, pipelines made from them by the dozen."""

import inspect
import sys
from collections.abc import Mapping
from functools import partial
from typing import Any, cast

import torch
from diffusers.pipelines.pipeline_utils import DiffusionPipeline

from gesso.components.component import Component, Listener
from gesso.components.face import component_of
from gesso.components.hosting import Hosting
from gesso.components.tokenizers import make_safe
from gesso.components.worker import DeviceWorker
from gesso.core.requests import Precision
from gesso.core.settings import Settings
from gesso.engine.facts import ModelFacts, facts_for, pipeline_class
from gesso.engine.remembered import Remembered
from gesso.memory.plan import MemoryPlan, Residence
from gesso.models.families import Role
from gesso.models.load import LoadedModel
from gesso.models.tasks import Task

DTYPES = {
    Precision.FLOAT32: torch.float32,
    Precision.BFLOAT16: torch.bfloat16,
    Precision.FLOAT16: torch.float16,
}


class HostedModel:
    """One model on one device in one precision. Shared by all its requests; nothing of it changes but by the worker.

    Gives the conditioning code what it needs: `network`, `tokenizer`, `processor`, `part`, `init_options`, `device`,
    `dtype`.
    """

    def __init__(
        self,
        loaded: LoadedModel,
        facts: ModelFacts,
        *,
        identity: str,
        hosting: Hosting,
        worker: DeviceWorker,
        plan: MemoryPlan,
        settings: Settings,
        listener: Listener,
    ) -> None:
        self.facts = facts
        self.texts = Remembered[Any](max_bytes=settings.remembered_texts_mib << 20)
        """What became of the latest texts; `gesso.engine.preparation` says what is kept."""
        self.identity = identity
        self.description = loaded.description
        self.worker = worker
        self.init_options: Mapping[str, Any] = loaded.init_options
        self.scheduler_class = loaded.scheduler_class
        self.scheduler_config: Mapping[str, Any] = loaded.scheduler_config
        self._hosting = hosting
        self._modules = loaded.modules
        for module in self._modules.values():
            if getattr(getattr(module, "config", None), "force_upcast", False):
                # Its precision was decided, for all; a pipeline that reads this casts the shared module to and fro.
                cast(Any, module).register_to_config(force_upcast=False)
        self._others = {
            name: make_safe(other) if _is_tokenizer(other) else other for name, other in loaded.others.items()
        }
        self._components: dict[str, Component] = {
            name: hosting.host(
                module,
                name=name,
                worker=worker,
                dtype=next((p.dtype for p in module.parameters() if p.is_floating_point()), torch.float32),
                offloaded=plan.residence.get(name) is Residence.OFFLOADED,
                max_rows=settings.max_rows,
                exact_rows=settings.exact_rows,
                listener=listener,
            )
            for name, module in loaded.modules.items()
        }
        places = {component.latents_device for component in self._components.values()}
        self._place = places.pop() if len(places) == 1 else None
        self._pipeline_class = self._at_its_place(loaded.pipeline_class)
        self._other_classes: dict[Task, type[Any]] = {}
        try:
            for component in self._components.values():
                if not component.weights.offloaded:  # now, so that the next plan sees the memory that is really left
                    worker.run(partial(worker.residency.settle, component.weights)).result()
        except BaseException:
            self.close()  # nobody else will: a model that was not made is in no cache
            raise

    @property
    def modules(self) -> Mapping[str, torch.nn.Module]:
        """The faces of all networks by name."""
        return self._modules

    @property
    def max_prompt_tokens(self) -> int:
        """Tokens that the pipeline's own conditioning reads at most, special ones included."""
        if self.facts.tried is not None and self.facts.tried.most_prompt_tokens is not None:
            return self.facts.tried.most_prompt_tokens
        parameter = inspect.signature(self._pipeline_class.__call__).parameters.get("max_sequence_length")
        return parameter.default if parameter is not None and isinstance(parameter.default, int) else sys.maxsize

    @property
    def device(self) -> torch.device:
        return torch.device(self.worker.device.name)

    @property
    def dtype(self) -> torch.dtype:
        """Of the denoiser: what prompt embeddings are made in."""
        denoiser = self._components.get("transformer") or self._components.get("unet")
        return denoiser.dtype if denoiser is not None else torch.float32

    @property
    def denoisers(self) -> list[str]:
        """Names of the networks that are called at each step."""
        described = self.description.components
        return [name for name in self._modules if name in described and described[name].role is Role.DENOISER]

    def network(self, name: str) -> Any:
        """The face of a network; `None` if the folder has none of that name."""
        return self._modules.get(name)

    def tokenizer(self, name: str) -> Any:
        """A tokenizer that may be called from many threads; `None` if the folder has none of that name."""
        return self._others.get(name)

    def processor(self, name: str) -> Any:
        """What prepares pictures for a network; `None` if the folder has none of that name."""
        return self._others.get(name)

    def part(self, path: str) -> Any:
        """The face of a network inside a network, for example `text_encoder.final_layer_norm`.

        Raises:
            AttributeError: there is no such part.
        """
        whole, _, inner = path.partition(".")
        part = self._hosting.host_part(self._components[whole], inner)
        return part.module

    def pipeline(self, scheduler: Any, task: Task = Task.TEXT_TO_IMAGE) -> Any:
        """A pipeline of its own for one picture: the shared networks, its own scheduler, the folder's init options.

        Raises:
            InputError: no pipeline does that with these networks.
        """
        kind = self._class_for(task)
        parts = {**self._modules, **self._others, **self.init_options}
        if scheduler is not None:
            parts["scheduler"] = scheduler
        if task is not Task.TEXT_TO_IMAGE:  # a class that shares the networks may have other options
            takes = inspect.signature(kind.__init__).parameters
            parts = {name: part for name, part in parts.items() if name in takes}
        pipeline = kind(**parts)
        pipeline.set_progress_bar_config(disable=True)
        return pipeline

    def _class_for(self, task: Task) -> type[Any]:
        if task not in self._other_classes:
            name = facts_for(self.facts, task).pipeline
            if name == self.description.pipeline_class:
                return self._pipeline_class
            self._other_classes[task] = self._at_its_place(pipeline_class(name))
        return self._other_classes[task]

    def _at_its_place(self, kind: type[Any]) -> type[Any]:
        return kind if self._place is None else _placed(kind, self._place)

    def tokenizers(self) -> dict[str, Any]:
        """All tokenizers by name."""
        return {name: other for name, other in self._others.items() if _is_tokenizer(other)}

    def close(self) -> None:
        """No request uses it any more: let its networks go."""
        for component in self._components.values():
            self._hosting.release(component)


def _placed(pipeline_class: type[Any], device: torch.device) -> type[Any]:
    """The pipeline's class, under the same name, knowing where its latents are.

    diffusers searches every part of every network for hooks that say so, three times a picture, which takes
    milliseconds of Python; on a hosted network there are none.
    """
    if pipeline_class._execution_device is not DiffusionPipeline._execution_device:
        return pipeline_class  # it has an answer of its own
    names = {name: getattr(pipeline_class, name) for name in ("__module__", "__qualname__", "__doc__")}
    return type(pipeline_class.__name__, (pipeline_class,), {**names, "_execution_device": property(lambda _: device)})


def _is_tokenizer(other: Any) -> bool:
    return other is not None and hasattr(other, "model_max_length") and callable(other)


def hosted_component(module: Any) -> Component:
    """The component behind a module of a hosted model."""
    return cast(Component, component_of(module))
