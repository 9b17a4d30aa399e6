"""An autoencoder that overflows in half precision answers in float32, and nobody else is disturbed."""

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import zoo
from callers import HoldableWorker, results, together
from gesso.components.hosting import Hosting
from gesso.components.journal import Journal
from gesso.components.scope import ImageScope, entered
from gesso.core.errors import NonFiniteError
from zoo.networks import vae


def overflowing(gain: float = 1e4) -> Any:
    """In float16 its activations pass 65,504, its weights and outputs do not."""
    module: Any = zoo.stir(vae(channels=4, scale=0.2), 0)
    for half in (module.encoder, module.decoder):
        half.conv_in.weight.mul_(gain)
    for parameter in module.parameters():
        parameter.data = parameter.data.half()
    return module


def latents(seed: int = 0) -> torch.Tensor:
    return 8 * torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(seed))


@pytest.fixture
def hosted(hosting: Hosting, worker: HoldableWorker) -> Callable[..., Any]:
    def host(module: nn.Module, name: str = "vae", **options: Any) -> Any:
        dtype = next(module.parameters()).dtype
        hosting.host(module, name=name, worker=worker, dtype=dtype, **options)
        return module

    return host


@pytest.mark.parametrize("offloaded", [False, True])
def test_what_overflows_is_answered_in_float32(hosted: Callable[..., Any], offloaded: bool) -> None:
    module = overflowing()
    in_float32 = copy.deepcopy(module).float()
    assert not module.decode(latents().half()).sample.isfinite().all()
    said: list[str] = []
    hosted(module, offloaded=offloaded, listener=said.append)
    scope, picture = ImageScope(), 100 * torch.rand(1, 3, 64, 64)
    with entered(scope):
        decoded = module.decode(latents()).sample
        encoded = module.encode(picture).latent_dist
    assert torch.equal(decoded, in_float32.decode(latents()).sample)
    assert torch.equal(encoded.mean, in_float32.encode(picture).latent_dist.mean)
    assert scope.redone == ["vae.decode", "vae.encode"]
    assert said[0] == "`vae.decode` overflows in float16: what does is made again in float32"
    assert [(entry.method, entry.call) for entry in scope.trace.entries()] == [("decode", 0), ("encode", 0)]
    assert {parameter.dtype for parameter in module.parameters()} == {torch.float16}


def test_calls_that_do_not_overflow_stay_in_half_precision(hosted: Callable[..., Any], worker: HoldableWorker) -> None:
    """Beside one that does, of the same network."""
    module = overflowing(gain=1.0)
    small, large = latents() / 8, latents() * 1e4
    expected = module.decode(small.half()).sample
    assert expected.isfinite().all()
    hosted(module)
    calm, wild, after = results(
        together(worker, [lambda given=given: module.decode(given).sample for given in (small, large, small)])
    )
    assert wild.dtype is torch.float32
    assert wild.isfinite().all()
    assert torch.equal(calm, expected)
    assert torch.equal(after, expected)


def test_what_is_not_finite_in_float32_either_is_an_error_that_names_it(hosted: Callable[..., Any]) -> None:
    module = overflowing()
    module.decoder.conv_out.bias.fill_(torch.nan)
    hosted(module)
    with pytest.raises(NonFiniteError, match=r"`vae.decode` produced NaN .* also in float32") as caught:
        module.decode(latents())
    assert caught.value.hint is not None
    assert "`--vae` chooses another" in caught.value.hint


def test_a_denoiser_that_overflows_is_an_error_as_before(hosted: Callable[..., Any]) -> None:
    module = nn.Linear(1, 1).half()
    module.weight.data.fill_(100.0)
    hosted(module, name="unet")
    with pytest.raises(NonFiniteError, match=r"`unet` produced NaN or infinite values in call 0$"):
        module(torch.full((1, 1), 6e4).half())


def test_a_resumed_picture_says_it_too(hosted: Callable[..., Any], tmp_path: Path) -> None:
    module = hosted(overflowing())
    first, again = (ImageScope(journal=Journal(tmp_path)) for _ in range(2))
    outputs: list[torch.Tensor] = []
    for scope in (first, again):
        with entered(scope):
            outputs.append(module.decode(latents()).sample)
    assert again.journal is not None
    assert again.journal.found_calls == 1
    assert torch.equal(*outputs)
    assert first.redone == again.redone == ["vae.decode"]
