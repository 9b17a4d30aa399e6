"""A single file paints what the folder paints that it was made of, to the byte."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

import zoo
from benchmarks.random_models import write_random_folder
from gesso.core.errors import ModelError
from gesso.core.requests import ImageRequest
from gesso.engine.handle import Result
from gesso.engine.studio import Studio
from gesso.models.folder import describe
from gesso.models.single_files.convert.convert import convert_file, convert_model
from gesso.primer import weights_folder
from studios import studio
from thin_models import THIN, thin_folder


@pytest.fixture
def opened() -> Iterator[Studio]:
    with studio() as one:
        yield one


def painted(opened: Studio, model: Path | str, **fields: object) -> Result:
    side = {} if model == "primer" or "primer" in str(model) else {"width": zoo.PICTURE_PX, "height": zoo.PICTURE_PX}
    request = {"prompt": "a red circle", "seed": 3, "steps": 2, "model": str(model), **side, **fields}
    return opened.submit(ImageRequest.model_validate(request)).result(100)


def bytes_of(result: Result) -> bytes:
    return result.images[0].tobytes()


def test_the_primer_paints_the_same_from_a_ckpt(opened: Studio, tmp_path: Path) -> None:
    cache = opened.settings.cache_folder
    convert_model(describe(weights_folder()), tmp_path / "primer.ckpt", cache_folder=cache)
    convert_file(tmp_path / "primer.ckpt", tmp_path / "primer.safetensors")
    convert_model(opened.store.find(str(tmp_path / "primer.ckpt")), tmp_path / "primer", cache_folder=cache)
    expected = bytes_of(painted(opened, "primer"))
    for name in ("primer.ckpt", "primer.safetensors", "primer"):
        result = painted(opened, tmp_path / name)
        assert bytes_of(result) == expected, name
        assert result.warnings == ()


@pytest.mark.parametrize("kind", ["sd1", "sdxl", "sd3", "flux-dev", "flux-schnell"])
def test_every_family_paints_the_same_from_a_file(kind: str, opened: Studio, tmp_path: Path) -> None:
    path = tmp_path / "one.safetensors"
    convert_model(describe(zoo.saved(kind)), path, cache_folder=opened.settings.cache_folder)
    assert bytes_of(painted(opened, path)) == bytes_of(painted(opened, zoo.saved(kind)))


def test_parts_of_other_files_are_what_paints(opened: Studio, tmp_path: Path) -> None:
    other = zoo.saved("sd1", 1)
    convert_model(describe(other), tmp_path / "other.safetensors", cache_folder=opened.settings.cache_folder)
    own = bytes_of(painted(opened, zoo.saved("sd1")))
    from_file = painted(opened, zoo.saved("sd1"), parts={"vae": str(tmp_path / "other.safetensors")})
    from_folder = painted(opened, zoo.saved("sd1"), parts={"vae": str(other / "vae")})
    assert bytes_of(from_file) == bytes_of(from_folder) != own
    everything = {name: str(other / name) for name in ("unet", "vae", "text_encoder")}
    assert bytes_of(painted(opened, zoo.saved("sd1"), parts=everything)) == bytes_of(painted(opened, other))
    recipe = from_file.recipes[0]
    assert recipe.resolved.parts == {"vae": str(tmp_path / "other.safetensors")}
    assert bytes_of(opened.submit(recipe.again()).result(100)) == bytes_of(from_file)


def test_a_part_that_is_replaced_on_the_disk_is_read_again(opened: Studio, tmp_path: Path) -> None:
    parts = {"vae": str(tmp_path / "vae.safetensors")}
    pictures: list[bytes] = []
    for seed in (1, 2):
        content = load_file(zoo.saved("sd1", seed) / "vae" / "diffusion_pytorch_model.safetensors")
        save_file(content, tmp_path / "new.safetensors")
        (tmp_path / "new.safetensors").replace(tmp_path / "vae.safetensors")
        pictures.append(bytes_of(painted(opened, zoo.saved("sd1"), parts=parts)))
    assert pictures[0] != pictures[1]


def test_a_checkpoint_that_says_nothing_of_itself_paints_as_its_folder(opened: Studio, tmp_path: Path) -> None:
    """With the names of SD 1 and what the package knows: thin but for the width by which it is recognised."""
    changes = {**THIN["sd1"][1]}
    changes["unet"] = {**changes["unet"], "cross_attention_dim": 768}
    changes["text_encoder"] = {"intermediate_size": 64, "num_hidden_layers": 2}
    folder = write_random_folder("sd1", tmp_path / "folder", changes=changes, dtype="F32")
    cache = opened.settings.cache_folder
    convert_model(describe(folder), tmp_path / "told.safetensors", dtype="float16", cache_folder=cache)
    save_file(load_file(tmp_path / "told.safetensors"), tmp_path / "silent.safetensors")
    expected = painted(opened, tmp_path / "told.safetensors", width=64, height=64)
    assert bytes_of(painted(opened, tmp_path / "silent.safetensors", width=64, height=64)) == bytes_of(expected)


def test_a_refiner_loads_and_says_that_it_does_not_paint_from_text(opened: Studio, tmp_path: Path) -> None:
    folder = thin_folder("sdxl-refiner", tmp_path / "folder")
    path = tmp_path / "refiner.safetensors"
    convert_model(describe(folder), path, cache_folder=opened.settings.cache_folder)
    assert opened.store.find(str(path)).pipeline_class == "StableDiffusionXLImg2ImgPipeline"
    with pytest.raises(ModelError, match="does not make pictures from text alone"):
        painted(opened, path)
