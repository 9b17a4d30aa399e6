"""A refiner goes on with a picture: as diffusers' own pair of pipelines does, and seen in recipe, trace and replay."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

import studios
import zoo
from effects import Effect
from gesso.core.errors import InputError, UnknownNameError
from gesso.core.recipe import Recipe
from gesso.core.requests import AdapterUse, HiresPass, ImageRequest, RefinerUse, Tiling
from gesso.engine.handle import Picture
from gesso.engine.infotext import write
from gesso.engine.replay import Verdict, replay
from gesso.engine.studio import Studio
from gesso.primer import weights_folder
from primer_edits import write_edit

STEPS = 5


@pytest.fixture(scope="module")
def studio() -> Iterator[Studio]:
    with studios.studio() as opened:
        yield opened


def thin(kind: str, refiner: str | Path | None = None, at: float = 0.6, **fields: Any) -> ImageRequest:
    size = {"width": zoo.PICTURE_PX, "height": zoo.PICTURE_PX}
    given: dict[str, Any] = {"prompt": "a red circle", "seed": 1, "steps": STEPS, "model": str(zoo.saved(kind)), **size}
    given["refiner"] = None if refiner is None else RefinerUse(model=str(refiner), at=at)
    return ImageRequest(**given | fields)


def made(studio: Studio, asked: ImageRequest) -> Picture:
    result = studio.submit(asked).result(100)
    return Picture(image=result.images[0], recipe=result.recipes[0])


def denoisers(recipe: Recipe) -> list[str]:
    """Which one computed each step."""
    return [entry.component for entry in recipe.run.trace if entry.component.endswith(("unet", "transformer"))]


def other(kind: str) -> Path:
    """The same architecture with other weights."""
    return zoo.saved(kind, seed=5)


@pytest.fixture(scope="module")
def changed_primer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "changed"
    shutil.copytree(weights_folder(), folder)
    for file in (folder / "unet").glob("*.safetensors"):
        tensors = load_file(file)
        draw = torch.Generator().manual_seed(0)
        save_file(
            {
                name: (value.float() * (1 + 0.02 * torch.randn(value.shape, generator=draw))).to(value.dtype)
                for name, value in tensors.items()
            },
            file,
        )
    return folder


@pytest.mark.parametrize("guidance", [1.0, 5.0])
def test_sdxl_and_its_refiner_make_what_the_pair_of_diffusers_makes(studio: Studio, guidance: float) -> None:
    asked = thin("sdxl", zoo.saved("sdxl-refiner"), guidance=guidance, negative_prompt="a blue star")
    mine = made(studio, asked)
    base: Any = zoo.build("sdxl")
    refiner: Any = zoo.build("sdxl-refiner")
    # Both have the same Euler, of steps of equal length: a share of the steps is one of the timesteps, which diffusers
    # counts, and nothing is remembered from one step to the next, which a second pipeline would not know.
    refiner.register_modules(vae=base.vae)
    words: dict[str, Any] = {"prompt": "a red circle", "negative_prompt": "a blue star", "guidance_scale": guidance}
    size = {"width": zoo.PICTURE_PX, "height": zoo.PICTURE_PX}
    with torch.no_grad():
        latents = base(
            **words,
            **size,
            num_inference_steps=STEPS,
            denoising_end=0.6,
            output_type="latent",
            generator=torch.Generator().manual_seed(1),
        ).images
        theirs = refiner(**words, image=latents, num_inference_steps=STEPS, denoising_start=0.6).images[0]
    assert studios.distance(mine.image, theirs) <= 1.5 / 255
    assert denoisers(mine.recipe) == ["unet"] * 3 + ["refiner.unet"] * 2
    alone = made(studio, asked.model_copy(update={"refiner": None}))
    assert studios.distance(mine.image, alone.image) > 4 / 255


def test_a_model_that_refines_itself_changes_no_byte_and_another_does(
    studio: Studio, changed_primer: Path, effect: Effect
) -> None:
    fields: dict[str, Any] = {"prompt": "a red circle on a white background", "seed": 2, "steps": 4}
    alone, same, changed = (
        made(studio, ImageRequest(**fields, refiner=refiner))
        for refiner in (None, RefinerUse(model="primer", at=0.5), RefinerUse(model=str(changed_primer), at=0.5))
    )
    effect(
        "The primer as its own refiner from half of the steps on: largest difference to the primer alone",
        studios.distance(alone.image, same.image),
        most=0,
        pictures={"alone": alone.image, "by itself": same.image, "by the primer with other weights": changed.image},
    )
    assert studios.distance(alone.image, changed.image) > 4 / 255
    assert denoisers(changed.recipe) == ["unet", "unet", "refiner.unet", "refiner.unet"]
    resolved, fingerprint = changed.recipe.resolved, changed.recipe.run.fingerprint
    assert resolved.refiner is not None
    assert (resolved.model, resolved.refiner.model) == ("primer", str(changed_primer))
    assert fingerprint.refiner.startswith("sha256:")
    assert fingerprint.refiner != fingerprint.weights == same.recipe.run.fingerprint.refiner
    text = write(changed.recipe)
    assert f"Refiner: changed [{fingerprint.refiner[7:17]}], Refiner switch at: 0.5" in text


@pytest.mark.parametrize(
    ("kind", "fields"),
    [
        ("sd1", {"prompt": "a red circle AND a [blue:black:0.5] star :0.5", "guidance": 3.0, "guidance_start": 0.25}),
        ("sd3", {"prompt": "a red [circle:star:0.5]", "guidance": 3.0}),
        ("flux-dev", {"negative_prompt": "a blue star", "arguments": {"true_cfg_scale": 3.0}}),
        ("z-image", {"guidance": 3.0, "negative_prompt": "a blue star"}),
    ],
)
def test_whatever_way_a_pipeline_asks_the_refiner_reads_the_same_prompts(
    studio: Studio, kind: str, fields: dict[str, Any]
) -> None:
    alone, same, changed = (
        made(studio, thin(kind, refiner, 0.5, steps=4, **fields)) for refiner in (None, zoo.saved(kind), other(kind))
    )
    assert studios.distance(alone.image, same.image) <= 1.5 / 255
    assert studios.distance(alone.image, changed.image) > 4 / 255
    calls = denoisers(changed.recipe)
    assert [call.removeprefix("refiner.") for call in calls] == denoisers(alone.recipe)
    assert [call.startswith("refiner.") for call in calls] == sorted(call.startswith("refiner.") for call in calls)


def test_pictures_share_forwards_with_those_that_the_refiner_makes_itself_and_are_replayed_to_the_bit(
    studio: Studio, tmp_path: Path
) -> None:
    refined = thin("sd1", other("sd1"), 0.25, steps=4, guidance=3.0)
    asked = [refined.model_copy(update={"seed": seed}) for seed in (1, 2)]
    asked += [thin("sd1", steps=8, guidance=3.0, seed=3, model=str(other("sd1")))]
    alone = [made(studio, one) for one in asked]
    together = studios.run_together(studio, asked)
    for one, result in zip(alone, together, strict=True):
        assert studios.distance(one.image, result.images[0]) <= 1.5 / 255
        assert replay(studio, result.save(tmp_path / "picture.png")[0]).verdict is Verdict.IDENTICAL
    shared = [
        segment
        for entry in together[0].recipes[0].run.trace
        for segment in entry.segments
        if entry.component == "refiner.unet" and segment.batch_rows > segment.rows
    ]
    assert shared


def test_a_killed_job_goes_on_among_the_steps_of_the_refiner(tmp_path: Path) -> None:
    asked = thin("sdxl", zoo.saved("sdxl-refiner"), exact=True, steps=6, at=0.5)
    with studios.studio() as opened:
        whole = opened.submit(asked).result(100)
        studios.cancel_after(opened.submit(asked, journal=tmp_path / "journal"), 5)
        going_on = opened.submit(asked, journal=tmp_path / "journal").result(100)
    assert studios.distance(whole.images[0], going_on.images[0]) == 0


def test_of_two_passes_the_second_is_finished_and_textures_stay_whole(studio: Studio) -> None:
    fields: dict[str, Any] = {"steps": 2, "sampler": "Euler", "tiling": Tiling.BOTH, "guidance": 3.0}
    fields["hires"] = HiresPass(scale=1.5, steps=4, prompt="a blue star")
    alone, same, both = (
        made(studio, thin("sd1", refiner, 0.5, **fields)) for refiner in (None, zoo.saved("sd1"), other("sd1"))
    )
    assert denoisers(both.recipe) == ["unet"] * 4 + ["refiner.unet"] * 2
    assert studios.distance(alone.image, same.image) == 0
    assert studios.distance(alone.image, both.image) > 4 / 255


def test_a_picture_that_begins_with_another_is_finished_by_the_refiner(studio: Studio, tmp_path: Path) -> None:
    made(studio, thin("sdxl")).image.save(tmp_path / "first.png")
    asked = thin("sdxl", zoo.saved("sdxl-refiner"), 0.5, steps=8, image=str(tmp_path / "first.png"), strength=0.5)
    assert denoisers(made(studio, asked).recipe) == ["unet"] * 2 + ["refiner.unet"] * 2


@pytest.mark.parametrize(
    ("kind", "refiner", "fields", "words"),
    [
        ("sdxl", "sdxl-refiner", {"at": 1.0}, ("after 1 of the steps", "below 1")),
        ("sdxl", "sdxl-refiner", {"at": -0.1}, ("after -0.1", "0.8 is usual")),
        ("sdxl", "sdxl-refiner", {"at": 0.9}, ("the last of 5 begins after 0.8", "more steps")),
        ("sd1", "sdxl-refiner", {}, ("another way than a Stable Diffusion 1.x", "shares the latents")),
        ("sd1", "sd3", {}, ("its denoiser is a `SD3Transformer2DModel`",)),
        ("sd1", "sd2", {}, ("it predicts v_prediction, not epsilon",)),
        ("flux-dev", "flux-schnell", {}, ("`guidance_embeds`",)),
        ("flux-dev", "chroma", {}, ("known to its own pipeline alone",)),
        ("qwen-image", "qwen-image-edit", {}, ("made for edit, not for text-to-image",)),
        ("pixart", "sd1", {}, ("known to its own pipeline alone",)),
    ],
)
def test_a_refiner_that_does_not_fit_is_refused(
    studio: Studio, kind: str, refiner: str, fields: dict[str, Any], words: tuple[str, ...]
) -> None:
    with pytest.raises(InputError) as caught:
        studio.resolve(thin(kind, zoo.saved(refiner), **fields))
    for word in words:
        assert word in f"{caught.value.message} | {caught.value.hint}"


def test_latents_of_another_scale_and_models_that_are_not_here_are_refused(studio: Studio, tmp_path: Path) -> None:
    vae: Any = zoo.build("sd1").vae
    vae.register_to_config(scaling_factor=0.13025)
    scaled = zoo.save("sd1", tmp_path / "scaled", vae=vae)
    with pytest.raises(InputError, match=r"scaled by 0\.13025, not 0\.18215"):
        studio.resolve(thin("sd1", scaled))
    with pytest.raises(UnknownNameError, match="primmer") as caught:
        studio.resolve(thin("sd1", "primmer"))
    assert "primer" in str(caught.value.hint)


def test_a_model_that_only_refines_says_so(studio: Studio) -> None:
    with pytest.raises(InputError, match="does not make pictures from text alone") as caught:
        studio.resolve(thin("sdxl-refiner"))
    assert "--refiner" in str(caught.value.hint)


def test_it_is_said_that_adapters_are_the_models_own(studio: Studio, tmp_path: Path) -> None:
    lora = AdapterUse(name=str(write_edit(tmp_path, "red", "blue")))
    asked = ImageRequest(prompt="a red circle", steps=2, adapters=(lora,), refiner=RefinerUse(model="primer", at=0.5))
    assert (
        "Adapters hold for `primer`, not for the steps that `primer` makes" in studio.submit(asked).result(60).warnings
    )
