"""k-diffusion's samplers and noise schedules, without what the package imports for training.

The package itself wants torchvision, clip and wandb. Its modules `sampling` and `external` need one function of
`k_diffusion.utils`, so they are imported over a package that holds nothing else.
"""

import importlib
import importlib.util
import sys
import warnings
from types import ModuleType
from typing import Any

import pytest
from torch import Tensor


def _append_dims(x: Tensor, dimensions: int) -> Tensor:
    """`x` with axes of length 1 added behind, until it has so many."""
    return x.reshape(*x.shape, *(1,) * (dimensions - x.ndim))


def load(name: str) -> Any:
    """The module `sampling` or `external`. Skips the test without k-diffusion, which `make test` installs."""
    if "k_diffusion" not in sys.modules:
        found = importlib.util.find_spec("k_diffusion")
        if found is None:
            pytest.skip("k-diffusion is not installed: `make test` installs it without its dependencies")
        package, utils = ModuleType("k_diffusion"), ModuleType("k_diffusion.utils")
        package.__path__ = list(found.submodule_search_locations or ())
        vars(package)["utils"] = utils
        vars(utils)["append_dims"] = _append_dims
        sys.modules |= {"k_diffusion": package, "k_diffusion.utils": utils}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of its dependencies
        return importlib.import_module(f"k_diffusion.{name}")
