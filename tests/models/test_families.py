from typing import Any

import pytest

from gesso.core.registry import load_dotted
from gesso.models.families import FAMILIES, Family, Role, family_for, role_for
from gesso.models.tasks import Task

EVERY = [pytest.param(family, id=family.name) for family in FAMILIES.values()]


@pytest.mark.parametrize("family", EVERY)
def test_a_family_names_classes_and_functions_that_exist(family: Family) -> None:
    assert callable(load_dotted(family.pipelines[Task.TEXT_TO_IMAGE]))
    assert callable(load_dotted(family.conditioning))


@pytest.mark.parametrize("family", EVERY)
def test_a_family_has_a_denoiser_a_vae_and_something_that_reads(family: Family) -> None:
    roles = list(family.components.values())
    assert roles.count(Role.DENOISER) == 1
    assert roles.count(Role.VAE) == 1
    assert Role.TEXT in roles


@pytest.mark.parametrize("family", EVERY)
def test_the_networks_of_a_family_are_arguments_of_its_pipeline(family: Family) -> None:
    import inspect

    parameters = inspect.signature(load_dotted(family.pipelines[Task.TEXT_TO_IMAGE])).parameters
    assert set(family.components) <= set(parameters)


@pytest.mark.parametrize("family", EVERY)
def test_preview_factors_are_one_row_of_red_green_and_blue_for_each_latent_channel(family: Family) -> None:
    assert family.latent_rgb is not None
    assert len(family.latent_rgb) == (32 if family.vae_class == "AutoencoderKLFlux2" else 16 if family.flow else 4)
    assert all(len(row) == 3 for row in family.latent_rgb)


@pytest.mark.parametrize(("width", "name"), [(768, "sd1"), (1024, "sd2"), (128, "sd1")])
def test_stable_diffusion_1_and_2_are_told_apart_by_the_text_that_the_unet_reads(width: int, name: str) -> None:
    family = family_for("StableDiffusionPipeline", {"unet": {"cross_attention_dim": width}})
    assert family is not None
    assert family.name == name


def test_flux_schnell_is_flux_with_few_steps_and_without_guidance() -> None:
    dev = family_for("FluxPipeline", {"transformer": {"guidance_embeds": True}})
    schnell = family_for("FluxPipeline", {"transformer": {"guidance_embeds": False}})
    assert dev is not None
    assert schnell is not None
    assert dev.name == schnell.name == "flux1"
    assert (dev.defaults.steps, dev.defaults.guidance, dev.guidance_embedded) == (28, 3.5, True)
    assert (schnell.defaults.steps, schnell.defaults.guidance, schnell.guidance_embedded) == (4, 0.0, False)


def test_stable_diffusion_35_is_of_the_family_of_3() -> None:
    older = family_for("StableDiffusion3Pipeline", {"transformer": {}})
    newer = family_for("StableDiffusion3Pipeline", {"transformer": {"qk_norm": "rms_norm"}})
    assert older is not None
    assert newer is not None
    assert older.name == newer.name == "sd3"
    assert older.defaults != newer.defaults


@pytest.mark.parametrize(
    ("pipeline", "configs", "options", "title", "defaults"),
    [
        ("ZImagePipeline", {"scheduler": {"shift": 6.0}}, {}, "Z-Image", (50, 4.0)),
        ("ZImagePipeline", {"scheduler": {"shift": 3.0}}, {}, "Z-Image Turbo", (8, 0.0)),
        ("Flux2Pipeline", {}, {}, "Flux.2 dev", (50, 4.0)),
        ("Flux2KleinPipeline", {}, {"is_distilled": False}, "Flux.2 klein base", (50, 4.0)),
        ("Flux2KleinPipeline", {}, {"is_distilled": True}, "Flux.2 klein", (4, 0.0)),
        ("QwenImagePipeline", {"transformer": {"guidance_embeds": False}}, {}, "Qwen-Image", (50, 4.0)),
        ("QwenImagePipeline", {"transformer": {"guidance_embeds": True}}, {}, "Qwen-Image distilled", (50, 4.0)),
    ],
)
def test_variants_are_told_apart_by_their_configs(
    pipeline: str, configs: Any, options: Any, title: str, defaults: tuple[int, float]
) -> None:
    family = family_for(pipeline, configs, options)
    assert family is not None
    assert family.title == title
    assert (family.defaults.steps, family.defaults.guidance) == defaults
    assert FAMILIES[family.name].pipelines == family.pipelines


def test_another_pipeline_has_no_family_and_its_networks_still_have_roles() -> None:
    assert family_for("PixArtSigmaPipeline", {}) is None
    assert role_for("transformer", None) is Role.DENOISER
    assert role_for("movq", None) is Role.VAE
    assert role_for("text_encoder_4", None) is Role.TEXT
    assert role_for("connectors", None) is Role.OTHER
