# pyright: reportPrivateImportUsage=false
"""Noise of the source, seeds and variation that were asked for, in every family and under every sampler."""

import threading
from pathlib import Path
from typing import Any

import pytest
import torch

import recipes
import studios
import zoo
from gesso.core.errors import InputError
from gesso.core.requests import MAX_SEED, ImageRequest, NoiseSource, ResolvedImageRequest
from gesso.engine.handle import Picture, Result
from gesso.engine.noise.draws import PictureNoise
from gesso.engine.noise.philox import normals
from gesso.engine.noise.source import stream_of
from gesso.engine.noise.variation import slerp
from gesso.engine.replay import Verdict, replay
from gesso.engine.samplers.table import DEFAULT, SAMPLERS
from gesso.engine.studio import Studio

# diffusers turns tensors into arrays in ways that numpy 2 deprecates and torch 2.13 does not support yet.
pytestmark = [
    pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy keyword"),
    pytest.mark.filterwarnings("ignore:__array_wrap__ must accept context"),
]


@pytest.fixture(scope="module")
def studio() -> Any:
    with studios.studio() as opened:
        yield opened


def request(kind: str = "sd1", **fields: Any) -> ImageRequest:
    given: dict[str, Any] = {"prompt": "a red circle", "seed": 5, "steps": 2, "guidance": 1.0}
    given["model"] = str(zoo.saved(kind))
    given |= {"width": zoo.PICTURE_PX, "height": zoo.PICTURE_PX, **fields}
    return ImageRequest(**given)


def result(studio: Studio, kind: str = "sd1", **fields: Any) -> Result:
    return studio.submit(request(kind, **fields)).result(100)


def picture(studio: Studio, kind: str = "sd1", **fields: Any) -> Picture:
    return result(studio, kind, **fields).pictures[0]


def digest(studio: Studio, kind: str = "sd1", **fields: Any) -> str:
    return picture(studio, kind, **fields).recipe.run.pixels_sha256


# --- chance belongs to the picture


@pytest.mark.parametrize("kind", zoo.KINDS)
def test_no_sampler_reads_or_changes_the_global_random_state(kind: str, studio: Studio) -> None:
    made: list[str] = []
    for sampler in (DEFAULT, *SAMPLERS):
        outcomes: list[str] = []
        for global_seed in (1, 2):
            torch.manual_seed(global_seed)
            before = torch.get_rng_state()
            try:
                outcomes.append(digest(studio, kind, sampler=sampler))
                made.append(sampler)
            except InputError as refused:  # not every pair exists
                outcomes.append(str(refused))
            assert torch.equal(torch.get_rng_state(), before), f"{sampler} drew from the global state"
        assert outcomes[0] == outcomes[1], f"{sampler} depends on the global state"
    assert DEFAULT in made


# --- the seam


def resolved(**fields: Any) -> ResolvedImageRequest:
    return recipes.recipe(seed=5, **fields).resolved


def inside(generator: torch.Generator | None = None, **fields: Any) -> PictureNoise:
    return PictureNoise(resolved(**fields), generator or torch.Generator().manual_seed(5))


def test_draws_with_the_pictures_generator_are_answered_as_they_were_asked() -> None:
    generator = torch.Generator()
    like = torch.empty(2, 3, dtype=torch.float64)
    with inside(generator, noise_source="nv") as noise:
        got = [
            torch.randn((1, 4, 2), generator=generator),
            torch.randn(2, 3, generator=generator, dtype=torch.bfloat16, device="cpu", layout=torch.strided),
            torch.randn(size=(6,), generator=generator),
            torch.randn_like(like, generator=generator),
            torch.normal(10.0, 2.0, (6,), generator=generator),
            torch.normal(torch.full((2, 3), 10.0), 2.0, generator=generator),
            torch.empty(6).normal_(10, 2, generator=generator),
        ]
    assert noise.draws == 7
    assert [tuple(tensor.shape) for tensor in got] == [(1, 4, 2), (2, 3), (6,), (2, 3), (6,), (2, 3), (6,)]
    assert got[1].dtype == torch.bfloat16
    assert got[3].dtype == torch.float64
    for draw, tensor in enumerate(got):
        unit = torch.from_numpy(normals(5, draw=draw, count=tensor.numel()))
        expected = unit if draw < 4 else unit * 2 + 10
        torch.testing.assert_close(tensor.flatten().float(), expected, rtol=0, atol=0.02 if draw == 1 else 2e-6)


def test_into_a_tensor_that_is_given_too() -> None:
    generator = torch.Generator()
    out = torch.empty(4)
    with inside(generator, noise_source="nv"):
        assert torch.randn(4, generator=generator, out=out) is out
        assert torch.equal(out, torch.from_numpy(normals(5, draw=0, count=4)))
        torch.normal(0.0, 1.0, (4,), generator=generator, out=out)
        assert torch.equal(out, torch.from_numpy(normals(5, draw=1, count=4)))


def test_all_other_draws_go_on_as_they_were() -> None:
    mine, other = torch.Generator(), torch.Generator().manual_seed(9)
    expected = torch.randn(4, generator=torch.Generator().manual_seed(9))
    elsewhere: list[torch.Tensor] = []

    def draw() -> None:
        elsewhere.append(torch.randn(4, generator=other))

    with inside(mine, noise_source="nv") as noise:
        thread = threading.Thread(target=draw)
        thread.start()
        thread.join()
        other.manual_seed(9)
        assert torch.equal(torch.randn(4, generator=other), expected)
        torch.rand(4, generator=other)
    assert torch.equal(elsewhere[0], expected)
    assert noise.draws == 0


@pytest.mark.parametrize(
    "draw",
    [
        lambda generator: torch.rand(3, generator=generator),
        lambda generator: torch.randint(0, 5, (3,), generator=generator),
        lambda generator: torch.randperm(5, generator=generator),
        lambda generator: torch.multinomial(torch.ones(3), 1, generator=generator),
        lambda generator: torch.bernoulli(torch.ones(3) / 2, generator=generator),
        lambda generator: torch.empty(3).uniform_(generator=generator),
        lambda generator: torch.empty(3).exponential_(generator=generator),
    ],
)
def test_a_draw_that_only_the_cpu_has_is_refused(draw: Any) -> None:
    generator = torch.Generator()
    with pytest.raises(InputError, match="only the CPU's own numbers exist"), inside(generator, noise_source="nv"):
        draw(generator)


def test_noise_that_escaped_is_noticed() -> None:
    generator = torch.Generator()
    thread = threading.Thread(target=lambda: torch.randn(3, generator=generator))
    with inside(generator, noise_source="nv") as noise:
        torch.randn(3, generator=generator)
        thread.start()
        thread.join()
    with pytest.raises(InputError, match="outside of its own thread"):
        noise.close()


def test_a_picture_without_noise_is_refused() -> None:
    with inside(noise_source="nv") as noise:
        torch.zeros(3)
    with pytest.raises(InputError, match="draws no noise from the seed"):
        noise.close()


@pytest.mark.parametrize("source", [NoiseSource.CPU, NoiseSource.NV])
def test_the_first_draw_is_the_seeds_and_the_steps_draw_from_the_seed_and_offset(source: NoiseSource) -> None:
    generator = torch.Generator()

    def drawn(**fields: Any) -> list[torch.Tensor]:
        with inside(generator, noise_source=source, **fields) as noise:
            tensors = [torch.randn(1, 4, 8, 8, generator=generator) for _ in range(3)]
        assert noise.close() == []
        return tensors

    def stream(seed: int) -> list[torch.Tensor]:
        numbers = stream_of(source, seed)
        return [numbers.fill(torch.empty(1, 4, 8, 8)) for _ in range(3)]

    for got, expected in zip(drawn(), stream(5), strict=True):
        assert torch.equal(got, expected)
    offset, steps = drawn(eta_seed_offset=31337), stream(5 + 31337)
    assert torch.equal(offset[0], stream(5)[0])
    assert torch.equal(offset[1], steps[0])
    assert torch.equal(offset[2], steps[1])
    varied = drawn(variation_seed=6, variation_strength=0.25)
    assert torch.equal(varied[0], slerp(0.25, stream(5)[0], stream(6)[0]))
    assert torch.equal(varied[1], stream(5)[1])  # the steps are the seed's own


def test_noise_of_comfyui_begins_on_a_cpu_and_goes_on_on_a_gpu() -> None:
    generator, high = torch.Generator(), 156676111990784  # seeds have 64 bits there
    for offset in (0, high):
        with inside(generator, noise_source="comfyui", eta_seed_offset=offset) as noise:
            first, *steps = (torch.randn(1, 4, 8, 8, generator=generator) for _ in range(3))
        assert noise.close() == []
        # torch's own generator on a CPU reads only the low 32 bits, so both seeds begin alike.
        assert torch.equal(first, torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(5 + offset)))
        for draw, got in enumerate(steps):
            assert got.flatten().tolist() == normals(5 + offset, draw=draw, count=256).tolist()


@pytest.mark.parametrize("kind", ["sd1", "flux-dev"])
def test_unmodified_pipelines_begin_with_the_noise_of_the_source(kind: str) -> None:
    pipeline: Any = zoo.built(kind)
    arguments = {"prompt": "a red circle", "num_inference_steps": 2, "output_type": "latent", "width": 64, "height": 64}
    noise = torch.from_numpy(normals(5, draw=0, count=16 * 64)).reshape(1, 16, 8, 8)
    if kind == "flux-dev":
        channels = pipeline.transformer.config.in_channels // 4
        noise = noise[:, :channels].contiguous()
        given = pipeline._pack_latents(noise, 1, channels, 8, 8)
    else:
        given = noise = noise[:, :4].contiguous()
    expected = pipeline(**arguments, latents=given).images
    generator = torch.Generator()
    with inside(generator, noise_source="nv"):
        got = pipeline(**arguments, generator=generator).images
    assert torch.equal(got, expected)


# --- effects


@pytest.mark.parametrize("kind", zoo.KINDS)
def test_the_source_decides_and_is_stable(kind: str, studio: Studio) -> None:
    cpu, nv, again = (
        picture(studio, kind, noise_source=source) for source in (NoiseSource.CPU, NoiseSource.NV, NoiseSource.NV)
    )
    assert nv.recipe.run.pixels_sha256 == again.recipe.run.pixels_sha256
    assert studios.mean_distance(cpu.image, nv.image) > 0.01
    assert nv.recipe.resolved.noise_source is NoiseSource.NV


@pytest.mark.parametrize("source", NoiseSource)
def test_an_eta_seed_offset_changes_what_stochastic_samplers_paint_and_nothing_else(
    source: NoiseSource, studio: Studio
) -> None:
    def with_offset(sampler: str, offset: int) -> Result:
        return result(studio, noise_source=source, sampler=sampler, eta_seed_offset=offset, steps=4)

    stochastic = [with_offset("Euler a", offset) for offset in (0, 31337, 31338)]
    assert len({made.recipes[0].run.pixels_sha256 for made in stochastic}) == 3
    assert all(made.warnings == () for made in stochastic)
    plain, offset = (with_offset("Euler", offset) for offset in (0, 31337))
    assert plain.recipes[0].run.pixels_sha256 == offset.recipes[0].run.pixels_sha256
    assert offset.warnings == (
        "The eta seed offset has no effect: sampler `Euler` draws no noise from the seed at its steps",
    )
    assert offset.recipes[0].run.warnings == offset.warnings
    assert plain.warnings == ()


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_sampler_is_stochastic_where_the_table_says_so(sampler: str, studio: Studio) -> None:
    kind = "sd1" if SAMPLERS[sampler].diffusion is not None else "sd3"
    plain, offset = (result(studio, kind, sampler=sampler, eta_seed_offset=offset) for offset in (0, 31337))
    differs = plain.recipes[0].run.pixels_sha256 != offset.recipes[0].run.pixels_sha256
    assert differs is SAMPLERS[sampler].stochastic
    assert bool(offset.warnings) is not differs


@pytest.mark.parametrize("kind", zoo.KINDS)
def test_a_variation_leads_from_the_picture_of_one_seed_to_that_of_the_other(kind: str, studio: Studio) -> None:
    start, end = picture(studio, kind), picture(studio, kind, seed=6)
    near, far = (picture(studio, kind, variation_seed=6, variation_strength=strength) for strength in (0.05, 1.0))
    if result(studio, kind, eta_seed_offset=1).warnings:  # else its steps draw further noise of the first seed
        assert far.recipe.run.pixels_sha256 == end.recipe.run.pixels_sha256
    assert 0 < studios.mean_distance(start.image, near.image) < studios.mean_distance(start.image, far.image)


@pytest.mark.parametrize("source", NoiseSource)
def test_the_primer_too_can_be_varied(source: NoiseSource, studio: Studio) -> None:
    def painted(**fields: Any) -> Picture:
        asked = ImageRequest(prompt="a red circle", seed=5, steps=4, sampler="Euler", noise_source=source, **fields)
        return studio.submit(asked).result(100).pictures[0]

    plain, varied = painted(), [painted(variation_seed=6, variation_strength=strength) for strength in (0.05, 0.5, 1)]
    away = [studios.mean_distance(plain.image, other.image) for other in varied]
    assert 0 < away[0] < away[1]
    seed_6 = studio.submit(varied[0].recipe.asked.model_copy(update={"seed": 6, "variation_strength": 0.0}))
    assert varied[-1].recipe.run.pixels_sha256 == seed_6.result(100).recipes[0].run.pixels_sha256


def test_the_pictures_of_a_varied_request_share_the_seed_and_count_the_variation_seed(studio: Studio) -> None:
    fields: dict[str, Any] = {"variation_strength": 0.3, "exact": True, "noise_source": NoiseSource.NV}
    made = result(studio, variation_seed=MAX_SEED, count=3, **fields)
    assert [recipe.run.seed for recipe in made.recipes] == [5, 5, 5]
    images = [recipe.resolved.for_image(recipe.run.index) for recipe in made.recipes]
    assert [image.variation_seed for image in images] == [MAX_SEED, 0, 1]
    for each in made.recipes:
        alone = digest(studio, variation_seed=(MAX_SEED + each.run.index) % (MAX_SEED + 1), **fields)
        assert alone == each.run.pixels_sha256
        assert studio.submit(each.again()).result(100).recipes[0].run.pixels_sha256 == alone
    assert len({each.run.pixels_sha256 for each in made.recipes}) == 3


def test_without_a_variation_the_seed_counts_as_ever(studio: Studio) -> None:
    made = result(studio, count=2, noise_source=NoiseSource.NV, exact=True)
    assert [recipe.run.seed for recipe in made.recipes] == [5, 6]
    assert made.recipes[1].run.pixels_sha256 == digest(studio, seed=6, noise_source=NoiseSource.NV, exact=True)


def test_a_variation_seed_that_was_left_out_is_drawn_and_kept(studio: Studio) -> None:
    one, other = (picture(studio, variation_strength=0.5).recipe for _ in range(2))
    assert one.resolved.variation_seed != other.resolved.variation_seed
    again = studio.submit(one.again()).result(100).recipes[0]
    assert again.resolved.variation_seed == one.resolved.variation_seed
    assert again.run.pixels_sha256 == one.run.pixels_sha256


def test_requests_of_all_kinds_at_once_do_not_influence_each_other(studio: Studio) -> None:
    base: dict[str, Any] = {"exact": True, "sampler": "Euler a", "steps": 4}
    kinds: list[dict[str, Any]] = [
        {},
        {"noise_source": NoiseSource.NV},
        {"eta_seed_offset": 31337},
        {"noise_source": NoiseSource.NV, "variation_seed": 1, "variation_strength": 0.5},
    ]
    alone = [digest(studio, **base, **fields) for fields in kinds]
    assert len(set(alone)) == len(kinds)
    before = torch.get_rng_state()
    together = studios.run_together(studio, [request(**base, **fields) for fields in kinds * 2])
    assert [made.recipes[0].run.pixels_sha256 for made in together] == alone * 2
    assert torch.equal(torch.get_rng_state(), before)
    assert sum(studios.foreign_rows(made.recipes[0]) for made in together) > 0  # they still share forwards


def test_a_picture_of_another_source_replays_identical(studio: Studio, tmp_path: Path) -> None:
    made = result(
        studio,
        noise_source=NoiseSource.NV,
        sampler="Euler a",
        eta_seed_offset=7,
        variation_seed=1,
        variation_strength=0.2,
        count=2,
    )
    for path in made.save(tmp_path / "pictures"):
        report = replay(studio, path)
        assert report.verdict is Verdict.IDENTICAL, report.lines


# --- what is decided and refused


def test_what_was_left_open_means_what_it_always_did(studio: Studio) -> None:
    decided = studio.resolve(request())
    assert decided.noise_source is NoiseSource.CPU
    assert (decided.eta_seed_offset, decided.variation_seed, decided.variation_strength) == (0, 0, 0.0)
    stored = decided.model_dump(mode="json")
    for name in ("noise_source", "eta_seed_offset", "variation_seed", "variation_strength"):
        del stored[name]
    assert ResolvedImageRequest.model_validate(stored) == decided  # a recipe that was written before


def test_a_setting_chooses_the_source_and_a_picture_keeps_its_own() -> None:
    with studios.studio(noise_source="nv") as other:
        assert other.resolve(request()).noise_source is NoiseSource.NV
        assert other.resolve(request(noise_source="cpu")).noise_source is NoiseSource.CPU
        old = recipes.recipe().again(model=str(zoo.saved("sd1")), width=64, height=64)
        assert other.resolve(old).noise_source is NoiseSource.CPU


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"variation_seed": 3}, "Variation seed 3 has no effect without a variation strength"),
        ({"variation_strength": 1.5}, "Asked for variation strength 1.5"),
        ({"variation_strength": -0.1}, "Asked for variation strength -0.1"),
        ({"variation_seed": -1, "variation_strength": 0.5}, "Asked for variation seed -1"),
        ({"variation_seed": MAX_SEED + 1, "variation_strength": 0.5}, f"Asked for variation seed {MAX_SEED + 1}"),
        ({"eta_seed_offset": -1}, "Asked for eta seed offset -1"),
        ({"arguments": {"latents": [0.0]}}, "`latents` of `StableDiffusionPipeline` is"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_runs(fields: dict[str, Any], message: str, studio: Studio) -> None:
    with pytest.raises(InputError) as caught:
        studio.resolve(request(**fields))
    assert caught.value.message.startswith(message)
    assert caught.value.hint


def test_a_variation_seed_at_strength_zero_is_said_to_have_no_effect(studio: Studio) -> None:
    made = result(studio, variation_seed=3, variation_strength=0.0)
    assert made.warnings == ("Variation seed 3 has no effect at variation strength 0",)
    assert made.recipes[0].run.pixels_sha256 == digest(studio)
