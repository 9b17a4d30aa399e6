"""The registry of bases: true to diffusers, to the families, and to itself; and what it does for a request."""

import json
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import zoo
from gesso.core.errors import InputError
from gesso.core.settings import load_settings
from gesso.engine.facts import facts_of, pipeline_class
from gesso.engine.studio import Studio
from gesso.models.bases.fitting import burning_guidance, check_adapter, check_training_size, unusual_size
from gesso.models.bases.registry import BASES, base_named
from gesso.models.families import FAMILIES
from gesso.models.folder import describe
from gesso.models.pulling.origin import Origin
from gesso.models.recognition.kinds import Conclusion, Kind, Recognition
from gesso.models.verified import VERIFIED

SDXL, SDXL_TURBO, SD15 = (
    found for name in ("sdxl-base", "sdxl-turbo", "sd15") if (found := base_named(name)) is not None
)


def test_the_bases_that_people_ask_for_are_known() -> None:
    asked = (
        *("sd14", "sd15", "sd15-inpaint", "sd20", "sd21-512", "sd21-768", "sdxl-base", "sdxl-refiner", "sdxl-turbo"),
        *("sd3-medium", "sd35-medium", "sd35-large", "sd35-large-turbo", "flux1-dev", "flux1-schnell", "flux1-kontext"),
        *("flux2-dev", "flux2-klein", "z-image", "z-image-turbo", "qwen-image", "qwen-image-edit", "chroma"),
        *("sana", "pixart-alpha", "pixart-sigma", "lumina2", "auraflow", "hunyuan-dit", "kolors", "hidream"),
        *("cogview4", "kandinsky3", "stable-cascade", "lcm", "dreamshaper-8"),
    )
    assert [name for name in asked if base_named(name) is None] == []
    assert len(BASES) >= 50


def test_no_name_and_no_hub_id_stands_for_two() -> None:
    names = Counter(name for base in BASES for name in (base.name, *base.aliases))
    hub_ids = Counter(hub_id.casefold() for base in BASES for hub_id in base.hub_ids)
    assert [name for name, times in (names | hub_ids).items() if times > 1] == []
    assert all(name == name.casefold() and "/" not in name for name in names)


@pytest.mark.parametrize("name", sorted({base.pipeline for base in BASES}))
def test_this_diffusers_has_the_pipeline(name: str) -> None:
    assert pipeline_class(name).__name__ == name


def test_first_class_pipelines_have_bases_of_their_family() -> None:
    of_family = {record.pipeline: record.family for record in VERIFIED.values() if record.family}
    wrong = [
        base.name
        for base in BASES
        if base.pipeline in of_family
        and base.family not in {of_family[base.pipeline], "sd2"}
        and base.family in FAMILIES
    ]
    assert wrong == []


def test_every_base_that_cannot_take_guidance_says_what_is_usual() -> None:
    for base in BASES:
        if base.burns_above is not None:
            assert base.defaults is not None
            assert base.defaults.guidance <= base.burns_above
            assert base.defaults.steps <= 28


# --- what it does for a request


@pytest.fixture
def turbo(tmp_path: Path) -> Path:
    """A folder that says that it was saved from SDXL Turbo."""
    return claiming(zoo.save("sdxl", tmp_path / "anything"), "stabilityai/sdxl-turbo")


def claiming(folder: Path, hub_id: str) -> Path:
    index = folder / "model_index.json"
    index.write_text(json.dumps(json.loads(index.read_text()) | {"_name_or_path": hub_id}))
    return folder


def test_a_folder_that_says_what_it_is_gets_its_steps_and_guidance(turbo: Path) -> None:
    facts = facts_of(describe(turbo))
    assert facts.base is SDXL_TURBO
    assert (facts.defaults.steps, facts.defaults.guidance) == (4, 0.0)


def test_what_a_folder_is_called_says_nothing(tmp_path: Path) -> None:
    folder = zoo.save("sdxl", tmp_path / "stabilityai" / "sdxl-turbo")
    facts = facts_of(describe(folder, name="stabilityai/sdxl-turbo"))
    assert facts.base is None
    assert facts.defaults == FAMILIES["sdxl"].defaults


def test_where_it_was_fetched_from_counts_more_than_what_it_was_saved_as(turbo: Path) -> None:
    origin = Origin(reference="x", url="x", hub_id="stabilityai/stable-diffusion-xl-base-1.0")
    (turbo / "origin.json").write_text(origin.model_dump_json())
    assert facts_of(describe(turbo)).base is SDXL


def test_a_place_in_the_hubs_cache_tells_what_it_is(tmp_path: Path) -> None:
    snapshot = tmp_path / "models--stabilityai--sdxl-turbo" / "snapshots" / "abc"
    assert facts_of(describe(zoo.save("sdxl", snapshot))).base is SDXL_TURBO


def test_a_pipeline_of_another_kind_is_not_that_base(tmp_path: Path) -> None:
    assert facts_of(describe(claiming(zoo.save("sd1", tmp_path / "m"), "stabilityai/sdxl-turbo"))).base is None


def test_the_folders_own_defaults_count_more(turbo: Path) -> None:
    (turbo / "defaults.json").write_text('{"steps": 2, "guidance": 0.5}')
    assert facts_of(describe(turbo)).defaults.steps == 2


def test_a_guidance_that_burns_and_an_unusual_size_are_told_on_the_result(turbo: Path) -> None:
    request: dict[str, Any] = {"model": str(turbo), "seed": 1, "width": 64, "height": 64}
    with Studio(load_settings(threads=1)) as studio:
        burnt = studio.generate("a red circle", guidance=7.5, steps=2, **request)
        usual = studio.generate("a red circle", **request)
    assert any("Guidance 7.5 burns pictures of Stable Diffusion XL Turbo" in line for line in burnt.warnings)
    assert any("64x64 px is unusual" in line for line in burnt.warnings)
    assert not any("burns" in line for line in usual.warnings)
    assert (usual.recipes[0].resolved.steps, usual.recipes[0].resolved.guidance) == (4, 0.0)


# --- sizes and adapters


@pytest.mark.parametrize(
    ("name", "size", "usual"),
    [
        ("sdxl-base", (1024, 1024), True),
        ("sdxl-base", (1344, 768), True),
        ("sdxl-base", (512, 512), False),
        ("sdxl-turbo", (512, 512), True),
        ("sd15", (512, 768), True),
        ("sd15", (1024, 1024), False),
        ("hunyuan-dit", (1280, 1280), True),
        ("cogview4", (512, 512), True),
        ("cogview4", (2048, 2048), False),
    ],
)
def test_a_size_far_from_the_trained_one_is_told_with_one_that_fits(
    name: str, size: tuple[int, int], usual: bool
) -> None:
    base = base_named(name)
    assert base is not None
    told = unusual_size(base, *size)
    assert (told is None) == usual
    if told is not None:
        width, height = (int(side) for side in told.rpartition(": ")[2].split()[0].split("x"))
        assert unusual_size(base, width, height) is None


def test_guidance_burns_only_what_was_distilled() -> None:
    assert burning_guidance(SDXL_TURBO, 0.0) is None
    assert burning_guidance(SDXL_TURBO, 7.5) is not None
    assert burning_guidance(SDXL, 30.0) is None


@given(
    base=st.sampled_from([base for base in BASES if base.training is not None]),
    width=st.integers(1, 5000),
    height=st.integers(1, 5000),
)
def test_the_size_that_is_named_instead_can_be_trained_at(base: Any, width: int, height: int) -> None:
    hint: str | None = None
    try:
        check_training_size(base, width, height)
    except InputError as error:
        hint = error.hint or ""
    if hint is not None:
        check_training_size(base, *(int(side) for side in hint.removeprefix("nearest: ").split("x")))


def test_a_size_that_a_version_cannot_be_trained_at_is_refused_with_what_it_can() -> None:
    check_training_size(SDXL, 1024, 1024)
    with pytest.raises(InputError, match=r"Stable Diffusion 1\.5 cannot be trained at 1024x1024 px") as caught:
        check_training_size(SD15, 1024, 1024)
    assert caught.value.hint == "nearest: 768x768"
    with pytest.raises(InputError) as caught:
        check_training_size(SDXL, 1023, 1024)
    assert caught.value.hint == "nearest: 1024x1024"


def lora(*families: str, guess: bool = False, variant: str | None = None) -> Recognition:
    return Recognition(
        kind=Conclusion(value=Kind.LORA, evidence="a key"),
        family=Conclusion(value=" or ".join(families), evidence="a key", guess=guess),
        families=families,
        variant=Conclusion(value=variant, evidence="a key") if variant else None,
    )


def test_an_adapter_of_another_family_is_refused_with_bases_that_it_fits() -> None:
    fits = partial(check_adapter, name="a", model="m")
    fits(lora("sdxl"), family="sdxl")
    fits(lora("sd1", "sd2"), family="sd1")
    fits(lora("sdxl", guess=True), family="sd1")
    with pytest.raises(InputError, match="The lora `a` is made for sdxl, `m` is sd1") as caught:
        fits(lora("sdxl"), family="sd1")
    assert "sdxl-base" in (caught.value.hint or "")
    with pytest.raises(InputError, match=r"made for sd3, medium, `m` is sd3, 3\.5 large"):
        fits(lora("sd3", variant="medium"), family="sd3", variant="3.5 large")


def test_what_is_no_adapter_is_not_judged() -> None:
    whole = Recognition(
        kind=Conclusion(value=Kind.CHECKPOINT, evidence="a key"),
        family=Conclusion(value="sdxl", evidence="a key"),
        families=("sdxl",),
    )
    check_adapter(whole, name="a", model="m", family="sd1")
