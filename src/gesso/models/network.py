"""Reading one network from its folder, with nothing left to chance and nothing changed for other threads.

`from_pretrained` of diffusers and of transformers builds a network under a changed `torch.set_default_dtype`, which
holds for the whole process: a picture that is being made on another thread at that moment would compute its sigmas in
half precision. Here the libraries are told that the default dtype is already set, and a torch function mode, which
belongs to this thread alone, gives the new tensors their dtype instead.

Both libraries also only warn when weights are missing from the file, and go on with random ones. Here that is an error.
"""

import importlib
import threading
import types
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Final, cast

import accelerate
import diffusers
import torch
import transformers
from diffusers.models.model_loading_utils import load_model_dict_into_meta
from torch import nn
from torch.overrides import TorchFunctionMode

from gesso.core.errors import ModelError
from gesso.models.folder import ComponentDescription
from gesso.models.single_files.maps.text import published
from gesso.models.single_files.tensors import tensors_of
from gesso.models.views import FileView

LOADING: Final = threading.Lock()
"""Both libraries patch initialisers for all threads while they build a network: one at a time."""

_FLOAT_FACTORIES: Final = frozenset(
    {torch.empty, torch.zeros, torch.ones, torch.rand, torch.randn, torch.linspace, torch.logspace, torch.eye}
)
_SHOWN_KEYS: Final = 3
_RENAMED: Final = {"CLIPFeatureExtractor": "CLIPImageProcessor"}
"""Classes that old folders name and that transformers 5 has under another name."""


def class_of(part: ComponentDescription) -> type[Any]:
    """The class of a part, imported.

    Raises:
        ModelError: the libraries here do not have it.
    """
    name = _RENAMED.get(part.class_name, part.class_name) if part.library == "transformers" else part.class_name
    if part.library == "transformers":
        library: Any = transformers
    elif part.library == "diffusers":
        library = diffusers
    else:  # a class that lives beside its pipeline, such as the safety checker
        library = importlib.import_module(f"diffusers.pipelines.{part.library}")
    cls = getattr(library, name, None)
    if not isinstance(cls, type):
        raise ModelError(
            f"`{part.name}` is a `{part.class_name}`, which {library.__name__} here does not have",
            hint="newer versions may: `pip install --upgrade diffusers transformers`",
        )
    return cls


def load_network(
    component: ComponentDescription, cls: type[nn.Module], *, dtype: torch.dtype, own_memory: bool
) -> tuple[nn.Module, list[str]]:
    """The network with its weights in `dtype` on the CPU: evaluation mode, no gradients.

    Args:
        own_memory: copy weights out of the mapped file. Otherwise those that are stored in `dtype` already stay
            mapped: they take no memory of their own, and follow the file if somebody overwrites it in place.

    Returns:
        The network, and a line for each thing the reader should know.

    Raises:
        ModelError: the weights are not all there, of other shapes, or unreadable.
    """
    # Some networks draw numbers before they are read: the state of the generator that all share is put back.
    with quiet_libraries(), LOADING, torch.random.fork_rng(devices=[]):
        module, info = _read(component, cls, dtype)
    _refuse_gaps(component, info)
    module.eval().requires_grad_(False)
    if own_memory:
        for tensor in (*module.parameters(), *module.buffers()):
            tensor.data = tensor.data.clone()
    unused = sorted(str(key) for key in info["unexpected_keys"])
    return module, [f"`{component.name}` has no place for {_some(unused)} in its file of weights"] if unused else []


def _read(component: ComponentDescription, cls: type[nn.Module], dtype: torch.dtype) -> tuple[nn.Module, Any]:
    if component.view is not None:
        return _read_view(component, component.view, cls, dtype)
    assert component.weights is not None
    default = torch.get_default_dtype()
    options: dict[str, Any] = {
        "local_files_only": True,
        "output_loading_info": True,
        "use_safetensors": component.weights.safe,
        "variant": component.weights.variant,
        "dtype": dtype,
    }
    try:
        if dtype == default:
            return cast(Any, cls).from_pretrained(str(component.folder), **options)
        if hasattr(cls, "get_init_context"):
            return _read_with_transformers(component.folder, cls, dtype, options | {"dtype": default})
        with _DefaultDtype(dtype):
            module, info = _diffusers_loader(cls).from_pretrained(str(component.folder), **options)
    except Exception as error:  # the boundary: libraries raise anything here, down to bare `Exception`
        raise unreadable(component.name, component.folder, error) from error
    module.__class__ = cls
    return module, info


def _read_view(
    component: ComponentDescription, view: FileView, cls: type[nn.Module], dtype: torch.dtype
) -> tuple[nn.Module, Any]:
    """As `_read`, of weights that have other names or other networks beside them in their file."""
    tensors = tensors_of(view)
    try:
        if hasattr(cls, "get_init_context"):
            options = {"state_dict": tensors, "output_loading_info": True, "dtype": torch.get_default_dtype()}
            return _read_with_transformers(component.folder, cls, dtype, options)
        with _DefaultDtype(dtype), accelerate.init_empty_weights():
            module = cast(Any, cls).from_config(cast(Any, cls).load_config(str(component.folder)))
        for name in component.without:
            module.set_submodule(name, nn.Identity())
        expected = {name: tuple(tensor.shape) for name, tensor in module.state_dict().items()}
        kept = getattr(cls, "_keep_in_fp32_modules", None) if dtype == torch.float16 else None
        others = [name for name, shape in expected.items() if name in tensors and tuple(tensors[name].shape) != shape]
        if not others:
            load_model_dict_into_meta(module, OrderedDict(tensors), dtype=dtype, keep_in_fp32_modules=kept or [])
    except Exception as error:  # the boundary: libraries raise anything here, down to bare `Exception`
        raise unreadable(component.name, view.path, error) from error
    return module, {
        "missing_keys": expected.keys() - tensors.keys(),
        "unexpected_keys": tensors.keys() - expected.keys(),
        "mismatched_keys": [(name,) for name in others],
    }


def tensor_shapes(component: ComponentDescription) -> dict[str, tuple[int, ...]]:
    """Shape of every tensor that a network has by its config, under their published names. Takes no memory for them."""
    cls = class_of(component)
    with quiet_libraries(), LOADING, torch.device("meta"):
        if hasattr(cls, "load_config"):
            module = cls.from_config(cls.load_config(str(component.folder)))
        else:
            module = cls(cls.config_class.from_pretrained(str(component.folder)))
    kept = module.state_dict()
    tensors = [*module.named_parameters(), *((name, kept[name]) for name, _ in module.named_buffers() if name in kept)]
    return {published(name): tuple(tensor.shape) for name, tensor in tensors}


def check_structure(component: ComponentDescription, shapes: Mapping[str, tuple[int, ...]]) -> None:
    """Compare the tensors of a network's files, by their published names, with those that it has by its config.

    Raises:
        ModelError: one is missing, or of another shape.
    """
    expected = tensor_shapes(component)
    _refuse_gaps(
        component,
        {
            "missing_keys": expected.keys() - shapes.keys(),
            "mismatched_keys": [(name,) for name in expected.keys() & shapes.keys() if expected[name] != shapes[name]],
        },
    )


def unreadable(name: str, folder: Path, error: Exception) -> ModelError:
    """What a library said of a part, in one line."""
    lines = str(error).strip().splitlines()
    said = lines[0] if lines else type(error).__name__
    return ModelError(f"`{name}` could not be read from `{folder}`: {said}", hint="download or copy the folder again")


def _refuse_gaps(component: ComponentDescription, info: Any) -> None:
    """Weights that stay random or have another shape make another network of it."""
    missing = sorted(str(key) for key in info["missing_keys"])
    if missing:
        raise ModelError(
            f"`{component.name}` lacks weights: {_some(missing)} of `{component.class_name}` not in its file",
            hint="the file is of another kind of network, or incomplete: download or copy the folder again",
        )
    if info["mismatched_keys"]:
        names = sorted(str(key[0]) for key in info["mismatched_keys"])
        raise ModelError(
            f"`{component.name}` has weights of other shapes than its `config.json` says: {_some(names)}",
            hint="config and weights belong to different models: download or copy the folder again",
        )


def _some(names: Sequence[str]) -> str:
    shown = ", ".join(f"`{name}`" for name in names[:_SHOWN_KEYS])
    rest = len(names) - _SHOWN_KEYS
    return f"{shown} and {rest} more" if rest > 0 else shown


class _DefaultDtype(TorchFunctionMode):
    """Tensors that are made without a dtype, and would get the default one, get `dtype`; on this thread only."""

    def __init__(self, dtype: torch.dtype) -> None:
        super().__init__()
        self.dtype = dtype

    def __torch_function__(
        self, func: Callable[..., Any], types: Iterable[type], args: Any = (), kwargs: Any = None
    ) -> Any:
        options = cast(dict[str, Any], kwargs or {})
        if options.get("dtype") is None and self._takes_default(func, args, options):
            options = {**options, "dtype": self.dtype}
        return func(*args, **options)

    def _takes_default(self, func: Callable[..., Any], args: Sequence[Any], options: dict[str, Any]) -> bool:
        if func in _FLOAT_FACTORIES:
            return True
        if func is torch.full:
            return isinstance(options.get("fill_value", args[-1] if args else None), float)
        if func is torch.arange:
            return any(isinstance(bound, float) for bound in (*args, *options.values()))
        if func is torch.tensor:
            return _first_number(options.get("data", args[0] if args else None)) is float
        return False


def _first_number(data: Any) -> type | None:
    """The type of the first number in nested lists; what else `torch.tensor` takes brings its own dtype."""
    while isinstance(data, (list, tuple)) and data:
        data = cast(Any, data[0])
    return type(data) if isinstance(data, (bool, int, float)) else None


def _diffusers_loader(cls: type[Any]) -> type[Any]:
    """`cls` of diffusers under its own name, whose loading leaves the default dtype of the process alone."""

    def keep_default(kept: type[Any], wanted: torch.dtype) -> torch.dtype:
        return torch.get_default_dtype()

    return _renewed(cls, {"_set_default_torch_dtype": classmethod(keep_default)})


def _read_with_transformers(
    folder: Path, cls: type[Any], dtype: torch.dtype, options: Mapping[str, Any]
) -> tuple[nn.Module, Any]:
    """Ask for the default dtype, also for networks inside the network, and build it under `dtype` all the same.

    Weights are cast to what the network was built in, except those that the class wants kept in float32.
    """

    def local_context(kept: type[Any], *args: Any, **kwargs: Any) -> list[Any]:
        return [*cast(Any, super(loader, kept)).get_init_context(*args, **kwargs), _DefaultDtype(dtype)]

    def plan(module: Any, asked: torch.dtype) -> dict[str, torch.dtype]:
        return cast(Any, super(loader, module))._get_dtype_plan(dtype)

    loader = _renewed(cls, {"get_init_context": classmethod(local_context), "_get_dtype_plan": plan})
    if "state_dict" in options:
        config = cast(Any, cls).config_class.from_pretrained(str(folder))
        module, info = loader.from_pretrained(None, config=config, **options)
    else:
        module, info = loader.from_pretrained(str(folder), **options)
    module.__class__ = cls
    for part in module.modules():
        _tell_dtype(getattr(part, "config", None), dtype)
    return module, info


def _tell_dtype(config: Any, dtype: torch.dtype) -> None:
    """What `from_pretrained` writes into configs."""
    if hasattr(config, "dtype"):
        config.dtype = dtype
        for name in getattr(config, "sub_configs", ()):
            _tell_dtype(getattr(config, name), dtype)


def _renewed(cls: type[Any], body: Mapping[str, Any]) -> type[Any]:
    """A subclass that passes for `cls` itself: libraries look classes up by module and name."""
    names = {"__module__": cls.__module__, "__qualname__": cls.__qualname__, "__doc__": cls.__doc__}
    return types.new_class(cls.__name__, (cls,), exec_body=lambda space: space.update(names | dict(body)))


class _Quiet:
    """How many threads want the libraries quiet. The first silences them, the last gives them their voice back."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._wanted = 0
        self._before: list[tuple[Any, int, bool]] = []

    def __enter__(self) -> None:
        import diffusers.utils.logging as diffusers_logging
        import transformers.utils.logging as transformers_logging

        libraries: list[Any] = [diffusers_logging, transformers_logging]
        with self._lock:
            self._wanted += 1
            if self._wanted > 1:
                return
            self._before = [(each, each.get_verbosity(), each.is_progress_bar_enabled()) for each in libraries]
            for library in libraries:
                library.set_verbosity(library.CRITICAL)
                library.disable_progress_bar()

    def __exit__(self, *error: object) -> None:
        with self._lock:
            self._wanted -= 1
            if self._wanted:
                return
            for library, verbosity, bars in self._before:
                library.set_verbosity(verbosity)
                if bars:
                    library.enable_progress_bar()


_QUIET: Final = _Quiet()


def quiet_libraries() -> AbstractContextManager[None]:
    """No progress bars and log lines of diffusers and transformers, for all threads; never waits for a load.

    What they would say of weights is checked by `load_network`.
    """
    return _QUIET
