"""Pictures of other programs made again: the same latents, as their rules say, and what is here of their files."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise, product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from torch import Tensor

import k_diffusion_sampling
import studios
import zoo
from effects import Effect
from foreign_corpus import nodes
from gesso.components.call import Call
from gesso.core.errors import InputError
from gesso.devices.cpu import CpuDevice
from gesso.engine.edit.strength import steps_made
from gesso.engine.foreign.fitting import fitted
from gesso.engine.foreign.read import ForeignTexts, read_parameters, read_texts
from gesso.engine.foreign.values import ForeignRecipe
from gesso.engine.noise.philox import normals
from gesso.engine.studio import Studio
from gesso.models import identity
from gesso.models.folder import describe
from gesso.models.single_files.convert.convert import convert_model
from gesso.primer import weights_folder
from inversions import a1111_safetensors, primer_vectors
from primer_edits import write_edit

SIDE, STEPS, SEED, GUIDANCE = zoo.PICTURE_PX, 4, 1234, 5.0
SHAPE = (1, 4, SIDE // 8, SIDE // 8)


@pytest.fixture(scope="module")
def studio() -> Iterator[Studio]:
    with studios.studio() as opened:
        yield opened


# --- the same latents


@contextmanager
def recorded(studio: Studio) -> Iterator[list[Call]]:
    """Every network call, with its arguments and its answer."""
    worker = studio._worker(CpuDevice())
    submit, calls = worker.submit, list[Call]()

    def recording(call: Call) -> None:
        calls.append(call)
        submit(call)

    worker.submit = recording
    try:
        yield calls
    finally:
        worker.submit = submit


def tensor(output: Any) -> Tensor:
    return output[0] if isinstance(output, tuple) else output.sample


class Reference:
    """The denoiser as k-diffusion sees it, whose answers are those that the picture got.

    Each time that it is asked, it must be shown what the picture's own call was shown.
    """

    def __init__(self, calls: list[Call]) -> None:
        self.calls = [call for call in calls if call.component.name == "unet"]
        self.made = 0
        self.worst = 0.0

    def __call__(self, x: Tensor, sigma: Tensor, **_: Any) -> Tensor:
        call = self.calls[self.made]
        self.made += 1
        level = float(sigma.flatten()[0])
        shown = call.arguments["sample"]
        self.worst = max(self.worst, float((shown - x / (1 + level**2) ** 0.5).abs().max()))
        without, along = tensor(call.answer.result()).chunk(2)
        return x - level * (without + GUIDANCE * (along - without))


def levels() -> np.ndarray:
    """Noise levels of Stable Diffusion's published betas: 0.00085 to 0.012, evenly in their roots."""
    betas = np.linspace(0.00085**0.5, 0.012**0.5, 1000) ** 2
    alphas = np.cumprod(1 - betas)
    return np.sqrt((1 - alphas) / alphas)


def uniform(steps: int) -> Tensor:
    """AUTOMATIC1111's own and ComfyUI's `normal`: timesteps evenly, log sigma linear between trained ones."""
    at = np.exp(np.interp(np.linspace(999, 0, steps), np.arange(1000), np.log(levels())))
    return torch.tensor([*at, 0.0], dtype=torch.float32)


def karras(steps: int) -> Tensor:
    """Karras et al. 2022, equation 5."""
    low, high = levels()[[0, -1]] ** (1 / 7)
    return torch.tensor([*(np.linspace(high, low, steps) ** 7), 0.0], dtype=torch.float32)


def philox(seed: int, draw: int) -> Tensor:
    return torch.from_numpy(normals(seed, draw=draw, count=int(np.prod(SHAPE)))).reshape(SHAPE)


def drawn_by_philox(seed: int, first: int) -> Any:
    draws = iter(range(first, 1000))
    return lambda *_: philox(seed, next(draws))


def made(studio: Studio, recipe: ForeignRecipe | None, kind: str) -> list[Call]:
    assert recipe is not None
    assert recipe.whole
    recipe = fitted(recipe, studio.store, {"model": str(zoo.saved(kind))}, usual="primer")
    assert recipe.whole
    with recorded(studio) as calls:
        studio.submit(recipe.request).result(100)
    return calls


def infotext(sampler: str, pairs: str = "", prompt: str = "a cat") -> ForeignRecipe:
    said = f"Steps: {STEPS}, Sampler: {sampler}, CFG scale: {GUIDANCE}, Seed: {SEED}, Size: {SIDE}x{SIDE}"
    return read_parameters(f"{prompt}\nNegative prompt: dog\n{said}{pairs}, Version: v1.10.1")


def graph(seed: int = SEED, prompt: str = "a cat", **inputs: Any) -> ForeignRecipe | None:
    sampler = {"seed": seed, "steps": STEPS, "cfg": GUIDANCE, **inputs}
    document = nodes(n3=sampler, n5={"width": SIDE, "height": SIDE}, n6={"text": prompt}, n7={"text": "dog"})
    return read_texts(ForeignTexts(graph=json.dumps(document)))


def far_from_euler_ancestral(calls: list[Call], start: Tensor, *, noise_seed: int) -> float:
    """The largest difference of what the UNet was shown to k-diffusion from that start, with a GPU's noise."""
    reference, sigmas = Reference(calls), uniform(STEPS)
    k_diffusion_sampling.load("sampling").sample_euler_ancestral(
        reference, start, sigmas, disable=True, noise_sampler=drawn_by_philox(noise_seed, 0)
    )
    assert reference.made == len(reference.calls) == STEPS
    return reference.worst


def test_automatic1111s_ancestral_picture_has_its_noise_levels_and_steps(studio: Studio, effect: Effect) -> None:
    worst = 0.0
    for kind in ("sd1", "sdxl"):
        calls = made(studio, infotext("Euler a, Schedule type: Automatic", ", ENSD: 31337"), kind)
        start = philox(SEED, 0) * uniform(STEPS)[0]
        worst = max(worst, far_from_euler_ancestral(calls, start, noise_seed=SEED + 31337))
    effect(
        "A picture of AUTOMATIC1111 (Euler a, seed offset) made again on SD 1 and XL: largest difference of what the "
        "UNet is shown to k-diffusion with that noise",
        worst,
        most=1e-4,
        on="thin random weights",
    )


@pytest.mark.parametrize("kind", ["sd1", "sdxl"])
def test_automatic1111s_picture_without_chance_does_too(kind: str, studio: Studio) -> None:
    calls = made(studio, infotext("DPM++ 2M, Schedule type: Karras"), kind)
    reference, sigmas = Reference(calls), karras(STEPS)
    start = philox(SEED, 0) * sigmas[0]
    k_diffusion_sampling.load("sampling").sample_dpmpp_2m(reference, start, sigmas, disable=True)
    assert reference.made == len(reference.calls) == STEPS
    assert reference.worst < 1e-4


def test_without_an_offset_the_steps_go_on_with_the_numbers_of_the_seed(studio: Studio) -> None:
    calls = made(studio, infotext("DPM++ 2S a, Schedule type: Karras"), "sd1")
    reference, sigmas = Reference(calls), karras(STEPS)
    k_diffusion_sampling.load("sampling").sample_dpmpp_2s_ancestral(
        reference, philox(SEED, 0) * sigmas[0], sigmas, disable=True, noise_sampler=drawn_by_philox(SEED, 1)
    )
    assert reference.made == len(reference.calls)
    assert reference.worst < 1e-4


def test_comfyuis_ancestral_picture_has_its_noise_levels_and_steps(studio: Studio, effect: Effect) -> None:
    worst = 0.0
    for kind, seed in product(("sd1", "sdxl"), (SEED, 156680208700286)):
        calls = made(studio, graph(seed, sampler_name="euler_ancestral", scheduler="normal"), kind)
        first = torch.randn(SHAPE, generator=torch.manual_seed(seed))
        start = first * (1 + uniform(STEPS)[0] ** 2) ** 0.5
        worst = max(worst, far_from_euler_ancestral(calls, start, noise_seed=seed))
    effect(
        "A picture of ComfyUI (euler_ancestral) made again on SD 1 and XL: largest difference of what the UNet is "
        "shown to k-diffusion with that noise",
        worst,
        most=1e-4,
        on="thin random weights",
    )


def test_comfyuis_ddpm_is_the_ancestral_step(studio: Studio) -> None:
    """Ho et al. 2020, equation 7 with the smaller variance, on the levels of the schedule, as ComfyUI writes it."""
    calls = made(studio, graph(sampler_name="ddpm", scheduler="karras"), "sd1")
    reference, sigmas = Reference(calls), karras(STEPS)
    x = torch.randn(SHAPE, generator=torch.manual_seed(SEED)) * (1 + sigmas[0] ** 2) ** 0.5
    for index, (level, following) in enumerate(pairwise(sigmas)):
        denoised = reference(x, level)
        noise = (x - denoised) / level
        now, then = 1 / (level**2 + 1), 1 / (following**2 + 1)
        alpha = now / then
        mean = (x * now**0.5 - (1 - alpha) * noise / (1 - now) ** 0.5) / alpha**0.5
        if following > 0:
            mean = mean + ((1 - alpha) * (1 - then) / (1 - now)) ** 0.5 * philox(SEED, index)
        x = mean / then**0.5
    assert reference.worst < 1e-4


def states(calls: list[Call]) -> tuple[Tensor, Tensor]:
    """What the denoiser reads of the negative prompt and of the prompt."""
    call = next(call for call in calls if call.component.name == "unet")
    without, along = call.arguments["encoder_hidden_states"].chunk(2)
    return without, along


def test_weights_are_those_of_each_program(studio: Studio) -> None:
    weights = torch.ones(77, 1)
    weights[2] = 1.5  # begin, a, red
    plain = infotext("Euler, Schedule type: Automatic", prompt="a red cat")
    _, unweighted = states(made(studio, plain, "sd1"))
    nothing, _ = states(
        made(
            studio, read_parameters(plain.fields["prompt"] + "\nSteps: 4, Seed: 1, CFG scale: 5.0, Size: 64x64"), "sd1"
        )
    )
    theirs = states(made(studio, infotext("Euler, Schedule type: Automatic", prompt="a (red:1.5) cat"), "sd1"))[1]
    wanted = unweighted * weights
    torch.testing.assert_close(theirs, wanted * (unweighted.mean() / wanted.mean()), rtol=1e-4, atol=1e-5)
    _, comfy = states(made(studio, graph(prompt="a (red:1.5) cat"), "sd1"))
    torch.testing.assert_close(comfy, nothing + weights * (unweighted - nothing), rtol=1e-4, atol=1e-5)


def test_schedules_of_the_prompt_are_automatic1111s(studio: Studio) -> None:
    calls = made(studio, infotext("Euler, Schedule type: Automatic", prompt="a [cat:dog:0.5]"), "sd1")
    read = [call.arguments["encoder_hidden_states"][1] for call in calls if call.component.name == "unet"]
    assert [torch.equal(read[0], states) for states in read] == [True, True, False, False]


# --- what is here


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder with a checkpoint, its VAE, a LoRA and an embedding."""
    folder = tmp_path_factory.mktemp("models")
    convert_model(describe(weights_folder()), folder / "toy.safetensors", cache_folder=folder / "cache")
    write_edit(folder / "loras", "red", "blue")
    (folder / "embeddings").mkdir()
    a1111_safetensors(folder / "embeddings" / "thing.safetensors", primer_vectors("a red circle"))
    return folder


@pytest.fixture(scope="module")
def home(folder: Path) -> Iterator[Studio]:
    with studios.studio(model_folders=(folder,)) as opened:
        yield opened


def saved(path: Path, text: str, chunk: str = "parameters") -> Path:
    info = PngInfo()
    info.add_text(chunk, text)
    Image.new("RGB", (8, 8)).save(path, pnginfo=info)
    return path


def again(home: Studio, tmp_path: Path, pairs: str, prompt: str = "a cat", **overrides: Any) -> ForeignRecipe:
    said = f"{prompt}\nSteps: 2, Sampler: Euler a, CFG scale: 3, Seed: 3, Size: 64x64, {pairs}, Version: v1.6.0"
    return home.recipe_of(saved(tmp_path / "old.png", said), **overrides)


def test_the_model_is_found_by_its_hash_whatever_it_is_called_here(home: Studio, tmp_path: Path) -> None:
    file = home.store.find_file("toy")
    digest = home.store.catalogue.digest(file)
    recipe = again(home, tmp_path, f"Model hash: {digest[:10]}, Model: renamed")
    assert recipe.fields["model"] == "toy"
    assert recipe.warnings() == []


def test_else_by_its_name_and_other_weights_are_told(home: Studio, tmp_path: Path) -> None:
    home.store.catalogue.digest(home.store.find_file("toy"))
    recipe = again(home, tmp_path, "Model hash: 0123456789, Model: toy")
    assert recipe.fields["model"] == "toy"
    assert any("other weights" in line for line in recipe.warnings())


def test_of_a_folder_another_hash_is_told_too(home: Studio, tmp_path: Path) -> None:
    own = home.store.identities.digest(home.store.find("primer")).removeprefix("sha256:")[:10]
    assert again(home, tmp_path, f"Model hash: {own}, Model: primer").warnings() == []
    [line] = again(home, tmp_path, "Model hash: 0123456789, Model: primer").warnings()
    said = f"the folder of that name here has hash {own}, its weights may be others"
    assert line == f"Model `primer [0123456789]`: {said}"


def test_gigabytes_are_not_hashed_to_tell(home: Studio, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(identity, "INLINE_BYTES", 0)
    monkeypatch.setattr(home.store, "identities", identity.Identities(tmp_path))
    monkeypatch.setattr(identity, "file_digest", None)
    assert again(home, tmp_path, "Model hash: 0123456789, Model: primer").warnings() == []


def test_one_that_is_not_here_is_told_and_what_to_do(home: Studio, tmp_path: Path) -> None:
    recipe = again(home, tmp_path, "Model hash: 0123456789, Model: /etc/other")
    assert "model" not in recipe.fields
    assert (
        "Model `/etc/other [0123456789]` is not carried over: it is not here, `primer` is used" in recipe.warnings()[0]
    )
    chosen = again(home, tmp_path, "Model: other", model="toy")
    assert chosen.warnings() == []


def test_a_vae_and_embeddings_that_are_not_here_are_told(home: Studio, tmp_path: Path) -> None:
    recipe = again(home, tmp_path, 'Model: toy, VAE: mse.safetensors, TI hashes: "thing: 01234567, gone: 01234567"')
    assert "vae" not in recipe.fields
    assert [(one.name, one.value) for one in recipe.left_out] == [("VAE", "mse.safetensors"), ("TI hashes", "gone")]


def test_a_network_of_the_prompt_is_applied_and_one_that_is_not_here_is_a_warning(home: Studio, tmp_path: Path) -> None:
    name = next((home.store.folders[0] / "loras").iterdir()).stem
    recipe = again(home, tmp_path, "Model: toy", prompt=f"a red heart <lora:{name}:1> <lora:gone:0.5>")
    result = home.submit(recipe.request).result(100)
    assert [adapter.name for adapter in result.recipes[0].resolved.adapters] == [name]
    assert any("`<lora:gone:0.5>` of the prompt is left out" in warning for warning in result.warnings)


def test_a_refiner_is_found_and_must_fit(home: Studio, tmp_path: Path) -> None:
    digest = home.store.catalogue.digest(home.store.find_file("toy"))[:10]
    recipe = again(home, tmp_path, f"Model: toy, Refiner: renamed [{digest}], Refiner switch at: 0.5")
    assert recipe.whole
    [decided] = home.submit(recipe.request).result(100).recipes
    assert [entry.component for entry in decided.run.trace if entry.component.endswith("unet")] == [
        "unet",
        "refiner.unet",
    ]
    gone = again(home, tmp_path, "Model: toy, Refiner: gone, Refiner switch at: 0.5")
    late = again(home, tmp_path, "Model: toy, Refiner: toy, Refiner switch at: 0.9")
    reasons = [{one.name: one.why for one in recipe.left_out}["Refiner"] for recipe in (gone, late)]
    assert "not here" in reasons[0]
    assert "the last of 2" in reasons[1]
    chosen = again(home, tmp_path, "Model: toy, Refiner: gone, Refiner switch at: 0.5", refiner={"model": "toy"})
    assert chosen.whole


def test_a_picture_and_a_mask_that_are_given_are_used_as_the_recipe_says(home: Studio, tmp_path: Path) -> None:
    said = "Model: toy, Denoising strength: 0.5, Mask blur: 4, Masked content: latent noise"
    first, mask = (str(tmp_path / name) for name in ("first.png", "mask.png"))
    Image.new("RGB", (64, 64), "red").save(first)
    Image.new("L", (64, 64), 255).save(mask)
    given: dict[str, Any] = {"image": first, "inpaint": {"mask": mask}}
    recipe = again(home, tmp_path, said, **given)
    assert recipe.whole
    resolved = home.resolve(recipe.again(**given))
    assert resolved.inpaint is not None
    assert (resolved.strength, resolved.inpaint.blur, resolved.inpaint.fill) == (0.5, 4.0, "noise")
    given = {"image": first, "strength": 0.8, "inpaint": {"mask": mask, "blur": 1.0}}
    resolved = home.resolve(again(home, tmp_path, said, **given).again(**given))
    assert resolved.inpaint is not None
    assert (resolved.strength, resolved.inpaint.blur, resolved.inpaint.fill) == (0.8, 1.0, "noise")
    idle = again(home, tmp_path, f"{said}, Inpaint area: Whole picture, Masked area padding: 64", **given)
    assert ("Masked area padding", "64") in idle.described
    home.resolve(idle.again(**given))
    without = again(home, tmp_path, said, image=first)
    assert [(one.name, "--mask" in one.why) for one in without.left_out] == [
        ("Mask blur", True),
        ("Masked content", True),
    ]


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ("Mask blur: 400", "Mask blur `400` is not carried over: it is not between 0 and 256"),
        ("Denoising strength: 0", "Denoising strength `0` is not carried over: it is not between 0.01 and 1"),
        ("Masked content: gold", "Masked content `gold` is not carried over: it is none of original, fill"),
        ("Inpaint area: Half", "Inpaint area `Half` is not carried over: it is none of Whole picture, Only masked"),
    ],
)
def test_why_a_value_is_not_used_is_told_where_the_pictures_are_given(
    home: Studio, tmp_path: Path, said: str, why: str
) -> None:
    given: dict[str, Any] = {"image": "first.png", "inpaint": {"mask": "mask.png"}}
    [line] = again(home, tmp_path, f"Model: toy, {said}", **given).warnings()
    assert line.startswith(why)
    [line] = again(home, tmp_path, f"Model: toy, {said}").warnings()
    assert "not in the file" in line


def test_the_whole_picture_can_be_asked_for_over_a_recipe_of_the_masked_part(home: Studio, tmp_path: Path) -> None:
    first, mask = (str(tmp_path / name) for name in ("first.png", "mask.png"))
    Image.new("RGB", (64, 64), "red").save(first)
    Image.new("L", (64, 64), 255).save(mask)
    given: dict[str, Any] = {"image": first, "inpaint": {"mask": mask, "only_masked": False}}
    said = "Model: toy, Denoising strength: 0.5, Inpaint area: Only masked, Masked area padding: 64"
    recipe = again(home, tmp_path, said, **given)
    assert ("Masked area padding", "64") in recipe.described
    decided = home.resolve(recipe.again(**given)).inpaint
    assert decided is not None
    assert not decided.only_masked
    given["inpaint"] = {"mask": mask}
    decided = home.resolve(again(home, tmp_path, said, **given).again(**given)).inpaint
    assert decided is not None
    assert (decided.only_masked, decided.padding) == (True, 64)


def test_networks_hold_for_the_second_pass_whose_prompt_may_name_them_too(home: Studio, tmp_path: Path) -> None:
    name = next((home.store.folders[0] / "loras").iterdir()).stem
    tag = f"<lora:{name}:1>"
    second = "Model: toy, Denoising strength: 0.5, Hires upscale: 2, Hires prompt: "
    recipe = again(home, tmp_path, f"{second}a red star {tag}", prompt=f"a red heart {tag}")
    assert recipe.whole
    resolved = home.resolve(recipe.request)
    assert resolved.hires is not None
    assert resolved.hires.prompt == "a red star "
    assert [adapter.name for adapter in resolved.adapters] == [name]
    bare = again(home, tmp_path, f"{second}a red star", prompt=f"a red heart {tag}")
    assert any("hold for both passes" in line for line in bare.warnings())
    other = again(home, tmp_path, f"{second}a red star <lora:{name}:0.5>", prompt=f"a red heart {tag}")
    assert [one.name for one in other.left_out] == ["Hires prompt"]


def test_networks_and_embeddings_of_a_graph_are_found_or_told(home: Studio, tmp_path: Path) -> None:
    name = next((home.store.folders[0] / "loras").iterdir()).name
    document = nodes(
        n3={"model": ["11", 0], "steps": 2},
        n5={"width": 64, "height": 64},
        n6={"text": "embedding:thing.pt, embedding:gone", "clip": ["11", 1]},
        n7={"clip": ["11", 1]},
        n10=(
            "LoraLoader",
            {"lora_name": name, "strength_model": 1, "strength_clip": 1, "model": ["4", 0], "clip": ["4", 1]},
        ),
        n11=(
            "LoraLoader",
            {"lora_name": "gone.pt", "strength_model": 1, "strength_clip": 1, "model": ["10", 0], "clip": ["10", 1]},
        ),
    )
    recipe = home.recipe_of(saved(tmp_path / "graph.png", json.dumps(document), "prompt"))
    assert recipe.fields["model"] == "toy"
    assert [(one.name, one.value) for one in recipe.left_out] == [("LoRA", "gone"), ("embedding", "gone")]
    [decided] = home.submit(recipe.request).result(100).recipes
    assert [adapter.name for adapter in decided.resolved.adapters] == [Path(name).stem]
    assert [embedding.word for embedding in decided.resolved.embeddings] == ["thing"]
    assert "gone" not in decided.resolved.prompt


# --- what the model takes


def test_sdxl_reads_its_usual_layers_whatever_automatic1111_writes(studio: Studio) -> None:
    def layers(kind: str, recipe: ForeignRecipe | None) -> Any:
        assert recipe is not None
        fit = fitted(recipe, studio.store, {"model": str(zoo.saved(kind))}, usual="primer")
        assert fit.whole
        return fit.fields.get("clip_skip")

    text = infotext("Euler a", ", Clip skip: 2")
    assert (layers("sd1", text), layers("sdxl", text)) == (2, None)


def test_flux_takes_its_guidance_and_its_own_levels(studio: Studio) -> None:
    text = (
        "a (cat:1.2)\nNegative prompt: dog\nSteps: 2, Sampler: Euler, Schedule type: Simple, CFG scale: 1, "
        "Distilled CFG Scale: 3.5, Seed: 1, Size: 72x72, Version: f2.0.1v1.10.1"
    )
    model = {"model": str(zoo.saved("flux-dev"))}
    recipe = fitted(read_parameters(text), studio.store, model, usual="primer")
    assert [one.name for one in recipe.left_out] == ["Negative prompt"]
    resolved = studio.resolve(recipe.again(**model))
    assert (resolved.guidance, resolved.sampler, resolved.schedule, resolved.width) == (3.5, "Euler", "automatic", 64)
    assert (resolved.prompt, resolved.dialect) == ("a (cat:1.2)", "a1111")


def test_where_prompts_are_plain_text_networks_are_taken_out_of_them(studio: Studio) -> None:
    recipe = infotext("DPM++ 2M, Schedule type: Karras", prompt="a cat <lora:gone:1>")
    model = {"model": str(zoo.saved("pixart"))}
    fit = fitted(recipe, studio.store, model, usual="primer")
    assert fit.fields["prompt"] == "a cat "
    assert [(one.name, one.value) for one in fit.left_out] == [("Prompt", "<lora:gone:1>")]
    assert studio.resolve(fit.again(**model)).dialect == "plain"


def test_what_the_samplers_rule_cannot_use_is_told(studio: Studio) -> None:
    recipe = infotext("DPM++ 2M, Schedule type: Karras", ", Eta: 0.5, Sigma churn: 3, Sigma tmin: 0.1")
    fit = fitted(recipe, studio.store, {}, usual="primer")
    assert {one.name for one in fit.left_out} == {"Eta", "Sigma churn", "Sigma tmin"}
    studio.resolve(fit.request)


def test_a_second_pass_is_made(home: Studio, tmp_path: Path) -> None:
    recipe = again(home, tmp_path, "Model: toy, Denoising strength: 0.5, Hires upscale: 2, Hires upscaler: Latent")
    assert recipe.whole
    result = home.submit(recipe.request).result(100)
    assert result.images[0].size == (128, 128)
    decided = result.recipes[0].resolved.hires
    assert decided is not None
    assert (decided.strength, decided.upscaler, decided.steps, decided.sampler) == (0.5, "latent", 2, "Euler a")


def test_a_second_pass_that_the_model_cannot_make_is_told(home: Studio, tmp_path: Path) -> None:
    recipe = again(home, tmp_path, "Model: toy, Denoising strength: 0.001, Hires upscale: 2, Hires steps: 9000")
    assert {one.name for one in recipe.left_out} == {"Denoising strength", "Hires upscale", "Hires steps"}


def test_a_picture_that_it_began_with_can_be_given(home: Studio, tmp_path: Path) -> None:
    Image.new("RGB", (64, 64), "red").save(tmp_path / "start.png")
    start = {"image": str(tmp_path / "start.png")}
    bare = again(home, tmp_path, "Model: toy, Denoising strength: 0.5")
    assert [one.name for one in bare.left_out] == ["Denoising strength"]
    recipe = again(home, tmp_path, "Model: toy, Denoising strength: 0.5", **start)
    assert not recipe.left_out
    [decided] = home.submit(recipe.again(**start)).result(100).recipes
    assert decided.resolved.strength == 0.5
    graph_of_it = graph(denoise=0.4, steps=8)
    assert graph_of_it is not None
    fit = fitted(graph_of_it, home.store, start, usual="primer")
    assert (fit.fields["strength"], fit.fields["steps"]) == (0.4, 20)  # of which 8 are made, as there
    loaded = ("VAEEncode", {"pixels": ["21", 0], "vae": ["4", 2]}), ("LoadImage", {"image": "a.png"})
    begun = nodes(n3={"latent_image": ["20", 0], "denoise": 0.4}, n20=loaded[0], n21=loaded[1])
    whole = read_texts(ForeignTexts(graph=json.dumps(begun)))
    assert whole is not None
    assert {one.name for one in whole.left_out} == {"VAEEncode #20", "LoadImage #21", "KSampler #3.denoise"}
    assert fitted(whole, home.store, start, usual="primer").whole


@pytest.mark.parametrize("kind", ["sd1", "flux-dev"])
@pytest.mark.parametrize(("denoise", "planned"), [(0.3, 66), (0.55, 36), (0.6, 33), (0.7, 28), (0.75, 26)])
def test_all_steps_of_comfyui_are_made_at_any_strength(
    studio: Studio, tmp_path: Path, kind: str, denoise: float, planned: int
) -> None:
    """`int(steps / denoise)` are planned there, and the last `steps` of them made."""
    Image.new("RGB", (64, 64), "red").save(tmp_path / "start.png")
    given = {"image": str(tmp_path / "start.png"), "model": str(zoo.saved(kind)), "width": 64, "height": 64}
    recipe = graph(denoise=denoise, steps=20)
    assert recipe is not None
    decided = studio.resolve(fitted(recipe, studio.store, given, usual="primer").again(**given))
    assert decided.steps == planned
    assert steps_made(planned, decided.strength, flow=kind == "flux-dev") == 20


def test_a_strength_that_is_given_is_not_asked_for(home: Studio, tmp_path: Path) -> None:
    Image.new("RGB", (64, 64), "red").save(tmp_path / "start.png")
    start = {"image": str(tmp_path / "start.png"), "strength": 0.7}
    recipe = again(home, tmp_path, "Model: toy, Denoising strength: 0.5", **start)
    assert not recipe.left_out
    assert home.resolve(recipe.again(**start)).strength == 0.7
    of_comfyui = graph(denoise=0.4)
    assert of_comfyui is not None
    assert fitted(of_comfyui, home.store, start, usual="primer").whole


def test_another_sampler_goes_without_what_was_said_of_the_first(studio: Studio) -> None:
    recipe = fitted(infotext("DPM++ 2M, Schedule type: Karras"), studio.store, {"sampler": "DDIM"}, usual="primer")
    assert studio.resolve(recipe.again(sampler="DDIM")).sampler == "DDIM"
    ancestral = graph(sampler_name="euler_ancestral")
    assert ancestral is not None
    ancestral = fitted(ancestral, studio.store, {"sampler": "DDIM"}, usual="primer")
    assert studio.resolve(ancestral.again(sampler="DDIM")).sgm_noise_multiplier is False


def test_a_picture_of_gessos_own_is_none_of_another_program(studio: Studio, tmp_path: Path) -> None:
    studio.generate("a red circle", steps=1, width=64, height=64).save(tmp_path / "own.png")
    with pytest.raises(InputError, match="is Gesso's own"):
        studio.recipe_of(tmp_path / "own.png")
    Image.new("RGB", (8, 8)).save(tmp_path / "plain.png")
    with pytest.raises(InputError, match="does not say how it was made"):
        studio.recipe_of(tmp_path / "plain.png")
