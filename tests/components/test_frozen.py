"""A hosted network is everybody's: only its worker changes it, whatever pipelines try from their threads."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from diffusers.hooks.hooks import HookRegistry, ModelHook
from diffusers.pipelines.pag.pipeline_pag_sd import StableDiffusionPAGPipeline
from diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion_img2img import StableDiffusionImg2ImgPipeline
from torch import nn

import zoo
from bench import rows
from callers import Caller, HoldableWorker
from gesso.components.face import component_of
from gesso.components.hosting import Hosting
from gesso.core.errors import FrozenComponentError
from toys import COUNTING, CountingNetwork

Host = Callable[..., Any]

CHANGES: dict[str, Callable[[Any], Any]] = {
    "to": lambda unet: unet.to(torch.float16),
    "half": lambda unet: unet.half(),
    "float": lambda unet: unet.float(),
    "double": lambda unet: unet.double(),
    "bfloat16": lambda unet: unet.bfloat16(),
    "cpu": lambda unet: unet.cpu(),
    "train": lambda unet: unet.train(),
    "requires_grad_": lambda unet: unet.requires_grad_(True),
    "apply": lambda unet: unet.apply(lambda _: None),
    "compile": lambda unet: unet.compile(),
    "compile_repeated_blocks": lambda unet: unet.compile_repeated_blocks(),
    "load_state_dict": lambda unet: unet.load_state_dict(unet.state_dict()),
    "set_attn_processor": lambda unet: unet.set_attn_processor(next(iter(unet.attn_processors.values()))),
    "set_default_attn_processor": lambda unet: unet.set_default_attn_processor(),
    "set_attention_slice": lambda unet: unet.set_attention_slice("max"),
    "set_attention_backend": lambda unet: unet.set_attention_backend("native"),
    "reset_attention_backend": lambda unet: unet.reset_attention_backend(),
    "enable_freeu": lambda unet: unet.enable_freeu(0.9, 0.2, 1.2, 1.4),
    "disable_freeu": lambda unet: unet.disable_freeu(),
    "fuse_qkv_projections": lambda unet: unet.fuse_qkv_projections(),
    "unfuse_qkv_projections": lambda unet: unet.unfuse_qkv_projections(),
    "enable_gradient_checkpointing": lambda unet: unet.enable_gradient_checkpointing(),
    "enable_layerwise_casting": lambda unet: unet.enable_layerwise_casting(torch.float16, torch.float32),
    "enable_group_offload": lambda unet: unet.enable_group_offload(torch.device("cpu")),
    "add_adapter": lambda unet: unet.add_adapter(object()),
    "delete_adapters": lambda unet: unet.delete_adapters("style"),
    "set_adapters": lambda unet: unet.set_adapters(["style"]),
    "enable_lora": lambda unet: unet.enable_lora(),
    "fuse_lora": lambda unet: unet.fuse_lora(),
    "load_lora_adapter": lambda unet: unet.load_lora_adapter({}),
    "register_forward_hook": lambda unet: unet.register_forward_hook(lambda *_: None),
    "register_forward_pre_hook": lambda unet: unet.register_forward_pre_hook(lambda *_: None),
    "register_full_backward_pre_hook": lambda unet: unet.register_full_backward_pre_hook(lambda *_: None),
    "register_state_dict_post_hook": lambda unet: unet.register_state_dict_post_hook(lambda *_: None),
    "register_buffer": lambda unet: unet.register_buffer("more", torch.zeros(1)),
    "register_to_config": lambda unet: unet.register_to_config(sample_size=1),
    "add_module": lambda unet: unet.add_module("more", nn.Identity()),
    "writing an attribute": lambda unet: setattr(unet, "sample_size", 1),
    "replacing a layer": lambda unet: setattr(unet, "conv_in", nn.Identity()),
    "deleting an attribute": lambda unet: delattr(unet, "conv_in"),
}


@pytest.fixture(scope="module")
def unet() -> Any:
    return zoo.build("sd1").unet


def state(module: nn.Module) -> tuple[Any, ...]:
    hooks = [(list(part._forward_hooks), list(part._forward_pre_hooks)) for part in module.modules()]
    dtypes = {name: tensor.dtype for name, tensor in module.state_dict().items()}
    return dtypes, hooks, module.training, sorted(vars(module)), dict(getattr(module, "config", {}))


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_from_a_picture_is_refused_and_nothing_has_changed(
    change: str, unet: Any, hosting: Hosting, worker: HoldableWorker
) -> None:
    component = hosting.host(unet, name="unet", worker=worker, dtype=torch.float32)
    before = state(unet)
    try:
        with pytest.raises(FrozenComponentError, match="`unet` is hosted and frozen"):
            CHANGES[change](unet)
        assert state(unet) == before
    finally:
        hosting.release(component)


@pytest.mark.parametrize("kind", ["sd1", "sdxl", "sd3", "flux-dev"])
def test_no_method_that_changes_a_network_is_left_open(kind: str, host: Host) -> None:
    """By name: what libraries call such methods. A new one that does not fit the pattern must be looked at."""
    verbs = ("set_", "enable_", "disable_", "fuse_", "unfuse_", "load_", "unload_", "add_", "delete_", "register_")
    harmless = {"add_model_tags", "load_config", "register_for_auto_class"}
    for name, module in zoo.build(kind).components.items():
        if not isinstance(module, nn.Module):
            continue
        plain = type(module)
        host(module, name=name)
        for method in dir(plain):
            if method.startswith(verbs) and method not in harmless and callable(getattr(plain, method)):
                assert getattr(type(module), method) is not getattr(plain, method), f"{plain.__name__}.{method}"


def test_the_worker_may_change_what_it_hosts(host: Host, worker: HoldableWorker) -> None:
    network = host(CountingNetwork(), layouts=COUNTING)

    def change() -> None:
        network.weight.data.fill_(3.0)
        network.note = "written"
        network.to(torch.float64)
        network.to(torch.float32)

    worker.run(change).result()
    assert network.note == "written"
    torch.testing.assert_close(network(rows(1.0)), rows(3.0))


def test_the_worker_of_another_device_may_not(host: Host) -> None:
    from gesso.devices.cpu import CpuDevice

    network = host(CountingNetwork())
    other = HoldableWorker(CpuDevice(), threads=1)
    try:
        with pytest.raises(FrozenComponentError):
            other.run(network.half).result()
    finally:
        other.close()


def test_the_upcast_of_sdxl_does_not_reach_the_vae_of_everybody(host: Host) -> None:
    pipeline: Any = zoo.build("sdxl")
    pipeline.vae.to(torch.bfloat16)
    host(pipeline.vae, name="vae", dtype=torch.bfloat16)
    with pytest.warns(FutureWarning, match="upcast_vae"), pytest.raises(FrozenComponentError, match="`vae`"):
        pipeline.upcast_vae()
    assert next(pipeline.vae.parameters()).dtype == torch.bfloat16


def test_perturbed_attention_does_not_reach_the_attention_of_everybody(host: Host, hosting: Hosting) -> None:
    parts = zoo.build("sd1").components
    unet = host(parts["unet"], name="unet")
    pipeline: Any = StableDiffusionPAGPipeline(**parts, requires_safety_checker=False, pag_applied_layers=["mid"])
    before = dict(unet.attn_processors)
    with pytest.raises(FrozenComponentError, match="`unet`"):
        pipeline._set_pag_attn_processor(["mid"], True)
    assert unet.attn_processors == before

    component = component_of(unet)
    assert component is not None
    hosting.release(component)
    pipeline._set_pag_attn_processor(["mid"], True)  # an ordinary network again
    assert unet.attn_processors != before


def test_from_pipe_does_not_cast_the_networks_of_everybody(host: Host) -> None:
    pipeline: Any = zoo.build("sd1")
    host(pipeline.unet, name="unet")
    with pytest.raises(FrozenComponentError, match="`unet`"):
        StableDiffusionImg2ImgPipeline.from_pipe(pipeline, unet=pipeline.unet, dtype=torch.float16)
    assert next(pipeline.unet.parameters()).dtype == torch.float32


class Remembers(ModelHook):
    """A step cache, as far as resetting goes."""

    _is_stateful = True

    def __init__(self) -> None:
        super().__init__()
        self.resets = 0

    def reset_state(self, module: nn.Module) -> nn.Module:
        self.resets += 1
        return module


def test_a_pipeline_that_ends_does_not_reset_the_caches_of_everybody(host: Host, worker: HoldableWorker) -> None:
    pipeline: Any = zoo.build("flux-schnell")
    hook = Remembers()
    HookRegistry.check_if_exists_or_initialize(pipeline.transformer).register_hook(hook, "remembers")
    host(pipeline.transformer, name="transformer")
    pipeline.maybe_free_model_hooks()
    assert hook.resets == 0
    worker.run(pipeline.transformer._reset_stateful_cache).result()
    assert hook.resets == 1


def test_the_branch_that_a_pipeline_names_is_not_written_on_a_shared_transformer(
    host: Host, worker: HoldableWorker
) -> None:
    transformer: Any = zoo.build("flux-schnell").transformer
    host(transformer, name="transformer")
    before = sorted(vars(transformer))
    with transformer.cache_context("cond"):
        assert sorted(vars(transformer)) == before  # the plain class leaves a registry of hooks there

    def on_the_worker() -> bool:
        with transformer.cache_context("cond"):
            return hasattr(transformer, "_diffusers_hook")

    assert worker.run(on_the_worker).result()


def test_pictures_on_many_threads_are_all_refused_and_go_on_computing(host: Host) -> None:
    network = host(CountingNetwork(), layouts=COUNTING)

    def picture() -> torch.Tensor:
        with pytest.raises(FrozenComponentError):
            network.half()
        return network(rows(1.0))

    for caller in [Caller(picture) for _ in range(8)]:
        assert caller.result().dtype == torch.float32
