"""The face of a hosted network: the real object, whose calls go to its host.

Pipelines test `isinstance`, read `.config`, ask for `.dtype` and `.device`. So the object stays, and its class becomes
a subclass of the same name. transformers keys tables by `str(class)` and diffusers' LoRA code by the class name, hence
the same `__module__`, `__name__` and `__qualname__`.
"""

import functools
import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, cast

import torch

from gesso.components.component import Component
from gesso.components.layouts import FORWARD, hosted_methods
from gesso.core.errors import FrozenComponentError

_COMPONENT = "_gesso_component"
_PART_OF = "_gesso_part_of"
_FROZEN_NAMES = frozenset(
    {
        *("to", "cuda", "cpu", "xpu", "mtia", "ipu", "half", "float", "double", "bfloat16", "type", "to_empty"),
        *("train", "eval", "requires_grad_", "zero_grad", "apply", "smart_apply", "share_memory", "dequantize"),
        *("add_adapter", "merge_and_unload", "add_module", "tie_weights", "init_weights", "initialize_weights"),
        *("gradient_checkpointing_enable", "gradient_checkpointing_disable"),
        *("activation_checkpointing_enable", "activation_checkpointing_disable"),
    }
)
_FROZEN_PREFIXES = (
    *("set_", "enable_", "disable_", "fuse_", "unfuse_", "load_", "unload_", "resize_", "reset_"),
    *("register_", "compile", "delete_"),
)


def put_on(component: Component) -> None:
    """Give the component's module its face. From now on its calls are the host's."""
    module = component.module
    for part in module.modules():
        if part is not module and _has_processor(part) and not is_frozen(part):
            object.__setattr__(part, _PART_OF, component)
            part.__class__ = _frozen_class(type(part))
            _remember_signature(part)
    object.__setattr__(module, _COMPONENT, component)
    module.__class__ = _face_of(component.module_class)


def take_off(component: Component) -> None:
    """Make the module an ordinary one again."""
    object.__setattr__(component.module, "__class__", component.module_class)  # past the guard: any thread may release
    object.__delattr__(component.module, _COMPONENT)
    for part in component.module.modules():
        if part.__dict__.get(_PART_OF) is component:
            object.__setattr__(part, "__class__", type(part).__mro__[1])
            object.__delattr__(part, _PART_OF)


def component_of(module: torch.nn.Module) -> Component | None:
    """The component behind a face; `None` for a module that is not hosted."""
    return cast(Component | None, module.__dict__.get(_COMPONENT))


def is_frozen(module: torch.nn.Module) -> bool:
    """Whether `module` is hosted, or a guarded part of a network that is."""
    return not {_COMPONENT, _PART_OF}.isdisjoint(module.__dict__)


@functools.cache
def _face_of(module_class: type) -> type:
    members = _guards(module_class)
    # Where pipelines shall put latents and in which dtype: offloaded or quantized weights would say meta or int8.
    members["device"] = property(lambda self: _component(self).latents_device)
    members["dtype"] = property(lambda self: _component(self).dtype)
    for name in hosted_methods(module_class):
        members[name] = _hosted(name, getattr(module_class, name))
    if FORWARD in members:
        # Not by way of `forward`: hooks of the network run once, around the forward, not around each caller's wait too.
        members["__call__"] = _hosted(FORWARD, module_class.__call__)
    if hasattr(module_class, "cache_context"):
        members["cache_context"] = _guarded_context(module_class.cache_context)
    if hasattr(module_class, "_reset_stateful_cache"):
        members["_reset_stateful_cache"] = _on_worker_only(module_class._reset_stateful_cache)
    return type(module_class.__name__, (module_class,), members)


@functools.cache
def _frozen_class(module_class: type) -> type:
    """Of an attention inside a hosted network: PAG and others swap its processor for everybody."""
    return type(module_class.__name__, (module_class,), _guards(module_class))


def _guards(module_class: type) -> dict[str, Any]:
    """Members of a subclass of the same name in which nothing can be changed but by the worker."""
    members: dict[str, Any] = {
        "__module__": module_class.__module__,
        "__qualname__": module_class.__qualname__,
        "__doc__": module_class.__doc__,
        "__setattr__": _guarded("__setattr__", module_class.__setattr__),
        "__delattr__": _guarded("__delattr__", module_class.__delattr__),
    }
    for name in dir(module_class):
        of_the_class = isinstance(inspect.getattr_static(module_class, name), classmethod | staticmethod)
        if _changes(name) and not of_the_class and callable(getattr(module_class, name, None)):
            members[name] = _guarded(name, getattr(module_class, name))
    return members


def _has_processor(part: torch.nn.Module) -> bool:
    return callable(getattr(type(part), "set_processor", None))


def _remember_signature(attention: Any) -> None:
    """diffusers asks for its processor's signature at every forward: 3% of the time of a small network."""
    function = vars(type(getattr(attention, "processor", None))).get("__call__")
    if inspect.isfunction(function) and not hasattr(function, "__signature__"):
        setattr(function, "__signature__", inspect.signature(function))  # noqa: B010 - no declared attribute


def _component(module: Any) -> Component:
    """The component that a module is the face of, or an attention inside."""
    return cast(Component, module.__dict__.get(_COMPONENT) or module.__dict__[_PART_OF])


def _changes(name: str) -> bool:
    """Whether a method of that name changes the module it is called on."""
    return name in _FROZEN_NAMES or name.startswith(_FROZEN_PREFIXES)


def _hosted(name: str, original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    def method(self: Any, *args: Any, **kwargs: Any) -> Any:
        component = _component(self)
        if component.worker.is_current():
            return original(self, *args, **kwargs)  # the forward itself, or a hosted network inside another
        return component.call(name, args, kwargs)

    return method


def _guarded(name: str, original: Callable[..., Any]) -> Callable[..., Any]:
    """`original`, refused on every thread but the worker's."""

    @functools.wraps(original)
    def method(self: Any, *args: Any, **kwargs: Any) -> Any:
        component = _component(self)
        if not component.worker.is_current():
            what = f"{name}({args[0]!r})" if name in {"__setattr__", "__delattr__"} else name
            raise FrozenComponentError(component.name, what)
        return original(self, *args, **kwargs)

    return method


def _guarded_context(original: Callable[..., Any]) -> Callable[..., Any]:
    """Pipelines name the branch (`cond`, `uncond`) for step caches, writing it on the module everybody shares.

    No cache is installed on a hosted module, so on a request's thread the name has no use and is not written.
    """

    @functools.wraps(original)
    @contextmanager
    def context(self: Any, *args: Any, **kwargs: Any) -> Iterator[None]:
        if not _component(self).worker.is_current():
            yield
            return
        with original(self, *args, **kwargs):
            yield

    return context


def _on_worker_only(original: Callable[..., Any]) -> Callable[..., Any]:
    """Pipelines reset the caches of their networks when they end; on a shared network that would be everybody's."""

    @functools.wraps(original)
    def method(self: Any, *args: Any, **kwargs: Any) -> Any:
        return original(self, *args, **kwargs) if _component(self).worker.is_current() else None

    return method
