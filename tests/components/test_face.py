"""A hosted network looks like the plain one to everything that a pipeline or a library asks of it."""

import gc
import inspect
import weakref
from collections.abc import Callable
from typing import Any

import pytest
import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.controlnets.controlnet import ControlNetModel
from diffusers.models.controlnets.multicontrolnet import MultiControlNetModel
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from torch import nn

import zoo
from bench import rows
from callers import Caller, HoldableWorker
from gesso.components.face import component_of
from gesso.components.hosting import Hosting
from toys import COUNTING, CountingNetwork, OuterNetwork

Host = Callable[..., Any]


@pytest.mark.parametrize("kind", ["sd1", "sdxl", "sd3", "flux-dev"])
def test_the_class_of_a_hosted_network_cannot_be_told_from_its_own(kind: str, host: Host) -> None:
    for name, module in zoo.build(kind).components.items():
        if not isinstance(module, nn.Module):
            continue
        original = type(module)
        hosted = host(module, name=name)
        assert hosted is module
        assert isinstance(hosted, original)
        for attribute in ("__name__", "__module__", "__qualname__", "__doc__"):
            assert getattr(type(hosted), attribute) == getattr(original, attribute)
        assert str(type(hosted)) == str(original)  # transformers keys tables by it
        assert str(hosted.__class__) == str(original)


def test_config_weights_and_signature_are_read_as_before(host: Host) -> None:
    unet: Any = zoo.build("sd1").unet
    config, signature = unet.config, inspect.signature(unet.forward)
    weights = dict(unet.state_dict())
    host(unet)
    assert unet.config is config
    assert unet.config.in_channels == 4
    assert inspect.signature(unet.forward) == signature
    assert unet.state_dict().keys() == weights.keys()
    assert unet.get_submodule("mid_block") is unet.mid_block


def test_methods_of_the_class_stay_usable_on_a_hosted_network(host: Host, tmp_path: Any) -> None:
    unet: Any = zoo.build("sd1").unet
    unet.save_config(tmp_path)
    host(unet)
    assert unet.load_config(tmp_path)["in_channels"] == 4  # a class method: reads a file, writes nothing
    assert type(unet).load_config(tmp_path)["in_channels"] == 4


def test_device_and_dtype_say_where_pipelines_shall_put_latents_whatever_holds_the_weights(host: Host) -> None:
    with torch.device("meta"):
        unet = UNet2DConditionModel(
            sample_size=8,
            block_out_channels=(8, 8),
            down_block_types=("DownBlock2D", "DownBlock2D"),
            up_block_types=("UpBlock2D", "UpBlock2D"),
            norm_num_groups=4,
            attention_head_dim=4,
        )
    host(unet, dtype=torch.bfloat16)
    assert next(unet.parameters()).is_meta
    assert unet.device == torch.device("cpu")
    assert unet.dtype == torch.bfloat16


def test_a_call_from_a_picture_runs_on_the_thread_of_the_worker(host: Host, worker: HoldableWorker) -> None:
    network = host(CountingNetwork(), layouts=COUNTING)
    torch.testing.assert_close(network(rows(1.0, 3.0)), rows(2.0, 6.0))
    torch.testing.assert_close(network.forward(rows(1.0)), rows(2.0))  # pipelines use either form
    [thread] = set(network.control.threads)
    assert worker.run(lambda: thread).result() == thread
    assert Caller(lambda: worker.is_current()).result() is False


def test_a_hosted_network_inside_another_runs_straight_through_on_the_worker(host: Host) -> None:
    inner = CountingNetwork()
    outer = OuterNetwork(inner)
    host(inner, name="inner", layouts=COUNTING)
    host(outer, name="outer", layouts={})
    # On its own worker a queued call would wait for itself for ever.
    torch.testing.assert_close(Caller(lambda: outer(rows(1.0))).result(), rows(3.0))
    torch.testing.assert_close(inner(rows(2.0)), rows(4.0))
    assert inner.control.forward_calls == 2


def test_controlnets_are_hosted_alone_and_inside_their_multicontrolnet(host: Host) -> None:
    def controlnet(seed: int) -> Any:
        network = ControlNetModel(
            block_out_channels=(8,),
            down_block_types=("DownBlock2D",),
            norm_num_groups=4,
            attention_head_dim=4,
            cross_attention_dim=8,
            conditioning_embedding_out_channels=(8,),
        )
        return zoo.stir(network, seed)

    arguments: dict[str, Any] = {
        "sample": torch.ones(1, 4, 8, 8),
        "timestep": torch.tensor(5),
        "encoder_hidden_states": torch.ones(1, 3, 8),
    }
    condition = torch.ones(1, 3, 8, 8)
    both: Any = MultiControlNetModel([controlnet(1), controlnet(2)])
    given = {"controlnet_cond": [condition] * 2, "conditioning_scale": [1.0] * 2, "return_dict": False}
    _, expected = both(**arguments, **given)
    for index, net in enumerate(both.nets):
        host(net, name=f"controlnet_{index}")
    host(both, name="controlnet")
    _, found = Caller(lambda: both(**arguments, **given)).result()
    assert torch.equal(found, expected)


def test_of_an_autoencoder_encode_and_decode_are_calls_to_the_host(host: Host, worker: HoldableWorker) -> None:
    vae: Any = zoo.build("sd1").vae
    latents = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        expected = vae.decode(latents).sample
    host(vae, name="vae")
    with worker.held():
        caller = Caller(lambda: vae.decode(latents))
        worker.wait_for_queued()
    assert isinstance(vae, AutoencoderKL)
    assert torch.equal(caller.result().sample, expected)


def test_hooks_of_a_network_run_once_around_its_forward_and_see_the_merged_rows(
    host: Host, worker: HoldableWorker
) -> None:
    network = host(CountingNetwork(), layouts=COUNTING)
    seen: list[bool] = []

    def add_one(_module: nn.Module, _args: Any, output: torch.Tensor) -> torch.Tensor:
        seen.append(worker.is_current())
        return output + 1

    worker.run(lambda: network.register_forward_hook(add_one)).result()
    torch.testing.assert_close(network(rows(1.0)), rows(3.0))
    assert seen == [True]


def test_a_network_is_hosted_by_identity_and_counted(hosting: Hosting, worker: HoldableWorker) -> None:
    vae, twin = CountingNetwork(), CountingNetwork()
    original = type(vae)
    base = hosting.host(vae, name="vae", worker=worker, dtype=torch.float32)
    refiner = hosting.host(vae, name="vae of the refiner", worker=worker, dtype=torch.float32)
    other = hosting.host(twin, name="vae", worker=worker, dtype=torch.float32)
    assert base is refiner
    assert other is not base
    assert len(hosting) == 2
    hosting.release(base)
    assert component_of(vae) is base
    assert type(vae) is not original
    hosting.release(refiner)
    assert component_of(vae) is None
    assert type(vae) is original
    assert component_of(twin) is other


def test_a_released_network_is_an_ordinary_one_again(hosting: Hosting, worker: HoldableWorker) -> None:
    network = CountingNetwork()
    before = set(vars(network))
    component = hosting.host(network, name="net", worker=worker, dtype=torch.float32, layouts=COUNTING)
    network(rows(1.0))
    hosting.release(component)
    assert type(network) is CountingNetwork
    assert set(vars(network)) == before
    network.register_buffer("note", torch.zeros(1))
    network.half()
    worker.close()
    assert network(rows(1.0).half()).dtype == torch.float16


def test_a_network_can_be_released_after_its_worker_is_gone(hosting: Hosting, worker: HoldableWorker) -> None:
    network = CountingNetwork()
    component = hosting.host(network, name="net", worker=worker, dtype=torch.float32)
    worker.close()
    hosting.release(component)
    assert type(network) is CountingNetwork


def test_a_part_is_hosted_where_its_whole_lives_and_released_with_it(hosting: Hosting, worker: HoldableWorker) -> None:
    outer = OuterNetwork(CountingNetwork())
    whole = hosting.host(outer, name="outer", worker=worker, dtype=torch.float32)
    part = hosting.host_part(whole, "inner")
    assert hosting.host_part(whole, "inner") is part
    assert part.name == "outer.inner"
    assert part.weights is whole.weights
    torch.testing.assert_close(outer.inner(rows(1.0)), rows(2.0))
    with pytest.raises(AttributeError):
        hosting.host_part(whole, "nothing")
    hosting.release(whole)
    assert type(outer.inner) is CountingNetwork
    assert len(hosting) == 0


def test_nothing_keeps_a_released_network_in_memory(hosting: Hosting, worker: HoldableWorker) -> None:
    network = CountingNetwork()
    component = hosting.host(network, name="net", worker=worker, dtype=torch.float32, layouts=COUNTING)
    network(rows(1.0))
    hosting.release(component)
    worker.run(lambda: None).result()  # the worker is past everything that was asked of it
    gone = weakref.ref(network)
    del network, component
    gc.collect()
    assert gone() is None


def test_hosting_makes_a_network_ready_to_compute_and_not_to_learn(host: Host) -> None:
    network = CountingNetwork().train()
    host(network)
    assert not network.training
    assert not any(parameter.requires_grad for parameter in network.parameters())
