"""What bad input gets: one line that says what was asked, what was found and what to do, and nobody else notices.

Wherever something fails after it was accepted, other requests run in the same studio meanwhile, and their pictures are
compared with those that they make alone.
"""

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from PIL import Image
from pydantic import ValidationError
from torch.nn.modules.module import register_module_forward_hook

import disks
import studios
import zoo
from gesso.components.execute import ComponentError
from gesso.core.errors import (
    ClosedError,
    DeviceError,
    ExitCode,
    GessoError,
    InputError,
    ModelError,
    NonFiniteError,
    StorageError,
    UnknownNameError,
)
from gesso.core.events import Event
from gesso.core.recipe import Recipe
from gesso.core.requests import ImageRequest, PictureWords
from gesso.engine.pictures import encode, read_recipe
from gesso.engine.replay import replay
from gesso.engine.studio import Studio
from gesso.models.headers.base import NotWeightsError

Damage = Callable[[Path], None]

UNET_FILE = "unet/diffusion_pytorch_model.safetensors"


def quick(**fields: Any) -> ImageRequest:
    thin = {"model": str(zoo.saved("sd1")), "width": zoo.PICTURE_PX, "height": zoo.PICTURE_PX}
    return ImageRequest.model_validate({"prompt": "a red circle", "steps": 3, "seed": 1} | thin | fields)


COMPANY = ({"seed": 11, "steps": 16}, {"prompt": "two blue star", "seed": 12, "steps": 13, "guidance": 1.0})


@cache
def alone() -> list[Image.Image]:
    """The pictures of `COMPANY`, made one at a time with nobody else there."""
    with studios.studio() as studio:
        made = [studio.submit(quick(**fields)).result(60).images[0] for fields in COMPANY]
    assert studios.distance(*made) > 0.1
    return made


@contextmanager
def company(studio: Studio, *, times: int = 1) -> Iterator[None]:
    """Others paint in `studio` during the block. At its end they have painted what they paint alone."""
    expected = alone() * times
    handles = [studio.submit(quick(**fields)) for fields in COMPANY * times]
    next(event for event in handles[-1].events() if event.kind == "step-completed")
    try:
        yield
    finally:
        made = [handle.result(60).images[0] for handle in handles]
    for image, picture in zip(made, expected, strict=True):
        assert studios.distance(image, picture) <= 1.5 / 255


@pytest.fixture(scope="module")
def studio() -> Iterator[Studio]:
    with studios.studio() as opened:
        yield opened


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A model folder that may be damaged."""
    return shutil.copytree(zoo.saved("sd1"), tmp_path / "model")


def failure(studio: Studio, request: ImageRequest, **options: Any) -> GessoError:
    """What ends `request`, at once or later."""
    with pytest.raises(GessoError) as caught:
        studio.submit(request, **options).result(60)
    return caught.value


def assert_told(error: GessoError, code: ExitCode, *words: str) -> None:
    """One line for what was asked and found, one for what to do; all `words` are in them."""
    assert error.hint
    assert "\n" not in error.message + error.hint
    assert error.exit_code is code
    for word in words:
        assert word in f"{error.message} | {error.hint}"


def files_below(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


# --- refused before anything runs

REFUSED: list[tuple[dict[str, Any], type[GessoError], tuple[str, ...]]] = [
    ({"model": "prmer"}, UnknownNameError, ("Unknown model: `prmer`", "nearest: primer")),
    ({"model": ""}, UnknownNameError, ("Unknown model: ``",)),
    ({"model": "x" * 5000}, UnknownNameError, ("Unknown model", "gesso models list")),
    ({"model": "/" + "x" * 5000}, ModelError, ("could not be read", "check the path")),
    ({"model": "a\0b"}, UnknownNameError, ("Unknown model",)),
    ({"model": "~nobody-of-that-name/x"}, ModelError, ("There is no folder",)),
    ({"model": __file__}, NotWeightsError, ("is not a file of weights", "can be read")),
    ({"parts": {"voice": "x"}}, ModelError, ("There is no part `voice`", "it takes", "vae")),
    ({"parts": {"vae": "nowhere"}}, ModelError, ("There is no file or folder `nowhere`", "check the path")),
    ({"model": "/"}, ModelError, ("is not a model folder", "model_index.json")),
    ({"sampler": "eular"}, UnknownNameError, ("Unknown sampler: `eular`", "nearest: Euler")),
    ({"schedule": "karas"}, UnknownNameError, ("Unknown schedule: `karas`", "nearest: karras")),
    ({"device": "abacus"}, DeviceError, ("There is no device `abacus`", "`cpu`")),
    ({"device": ""}, DeviceError, ("There is no device ``",)),
    ({"prompt": "x" * 20_001}, InputError, ("20,001 characters", "at most 20,000")),
    ({"negative_prompt": "x" * 20_001}, InputError, ("negative prompt has 20,001 characters",)),
    ({"prompt": "a \ud800 b"}, InputError, ("The prompt holds U+D800 at place 2", "take it out")),
    ({"negative_prompt": "\udfff"}, InputError, ("The negative prompt holds U+DFFF",)),
    ({"owner": "\udcff"}, InputError, ("The owner holds U+DCFF",)),
    ({"width": 0}, InputError, ("a width of 0 px", "sides are 8 to")),
    ({"height": -64}, InputError, ("a height of -64 px", "sides are 8 to")),
    ({"width": 7}, InputError, ("7x64", "multiples of 8", "nearest: 8x64")),
    ({"width": 100_000}, InputError, ("a width of 100000 px", "16384 px")),
    ({"steps": 0}, InputError, ("steps 0", "steps is 1 to")),
    ({"steps": -3}, InputError, ("steps -3",)),
    ({"steps": 1000}, InputError, ("1000 steps", "1 to 999")),
    ({"steps": 1001, "sampler": "Euler"}, InputError, ("1001 steps", "`Euler`")),
    ({"steps": 60, "sampler": "LCM"}, InputError, ("60 steps", "`LCM`", "1 to 50")),
    ({"guidance": -1}, InputError, ("guidance -1", "0 to 1000")),
    ({"guidance": 1001}, InputError, ("guidance 1001",)),
    ({"guidance_rescale": 1.5}, InputError, ("guidance rescale 1.5", "0 to 1")),
    ({"seed": -1}, InputError, ("seed -1", "0 to 4294967295")),
    ({"seed": 2**64}, InputError, ("seed 18446744073709551616",)),
    ({"count": 0}, InputError, ("count 0",)),
    ({"clip_skip": 0}, InputError, ("clip skip 0",)),
    ({"clip_skip": 13}, InputError, ("clip skip 13", "1 to 12")),
    ({"priority": 101}, InputError, ("priority 101",)),
    ({"deadline_seconds": -1}, InputError, ("deadline -1",)),
    ({"deadline_seconds": 1e300}, InputError, ("deadline 1e+300",)),
    ({"arguments": {"brush": 1}}, InputError, ("takes no argument `brush`", "it takes", "eta")),
    ({"arguments": {"kwargs": 1}}, InputError, ("takes no argument `kwargs`",)),
    ({"arguments": {"callback_on_step_end": 1}}, InputError, ("takes no argument `callback_on_step_end`",)),
    ({"arguments": {"guidance_scale": 1}}, InputError, ("set by Gesso", "use `guidance`")),
    ({"arguments": {"prompt_embeds": 1}}, InputError, ("set by Gesso", "use the prompt")),
    ({"arguments": {"eta": "banana"}}, InputError, ("`eta`", "takes `float`", '"banana"', "number")),
    ({"arguments": {"eta": "nan"}}, InputError, ("`eta`", "finite")),
    ({"arguments": {"eta": None}}, InputError, ("`eta`", "found `null`")),
    ({"arguments": {"eta": 10**400}}, InputError, ("`eta`", "takes `float`")),
    ({"arguments": {"eta": float("nan")}}, InputError, ("`eta` holds `nan`",)),
    ({"arguments": {"eta": torch.zeros(1)}}, InputError, ("`eta` holds a `Tensor`", "numbers, texts")),
    ({"arguments": {"timesteps": ["x"]}}, InputError, ("`timesteps`", "takes `list[int]`", '["x"]')),
    ({"arguments": {"timesteps": json.loads("[" * 40 + "]" * 40)}}, InputError, ("32 lists",)),
    ({"arguments": {"timesteps": ["\ud800"]}}, InputError, ("U+D800",)),
    ({"arguments": {"latents": [[0.5]]}}, InputError, ("`latents`", "`torch.Tensor`", "leave it out")),
    ({"arguments": {"latents": torch.zeros(1, 4, 8, 8)}}, InputError, ("`latents`", "`torch.Tensor`")),
    ({"arguments": {"ip_adapter_image": "a.png"}}, InputError, ("`ip_adapter_image`", "cannot hold")),
    (
        {"arguments": {"cross_attention_kwargs": 3}},
        InputError,
        ("`cross_attention_kwargs` has no effect", "leave it out"),
    ),
    ({"arguments": {"cross_attention_kwargs": {"scale": 1}}}, InputError, ("has no effect",)),
]


@pytest.mark.parametrize(("fields", "error", "words"), REFUSED)
def test_what_cannot_be_done_is_refused_with_what_to_do(
    studio: Studio, fields: dict[str, Any], error: type[GessoError], words: tuple[str, ...]
) -> None:
    with pytest.raises(GessoError) as caught:
        studio.submit(quick(**fields))
    assert type(caught.value) is error
    assert_told(caught.value, ExitCode.RESOURCES if error is DeviceError else ExitCode.INPUT, *words)


@pytest.mark.rough(
    "requests",
    tried="some sixty requests that cannot be (names, sizes, steps, seeds, arguments, surrogates, 20,001 letters), "
    "while others paint",
    happens="each is refused before anything runs; the others' pictures are as ever",
    told="`InputError`, one line and a hint",
)
def test_refusing_disturbs_nobody(studio: Studio) -> None:
    with company(studio):
        for fields, error, _ in REFUSED:
            with pytest.raises(error):
                studio.submit(quick(**fields))


@pytest.mark.rough(
    "requests",
    tried="fields of the wrong type, NaN and infinity in numbers, unknown fields",
    happens="the field is named",
    told="`ValidationError`",
)
@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"width": "wide"}, "width"),
        ({"steps": 2.5}, "steps"),
        ({"guidance": float("nan")}, "guidance"),
        ({"guidance": float("inf")}, "guidance"),
        ({"deadline_seconds": float("inf")}, "deadline_seconds"),
        ({"prompt": 3}, "prompt"),
        ({"count": None}, "count"),
        ({"precision": "double"}, "precision"),
        ({"output_format": "gif"}, "output_format"),
        ({"arguments": [1]}, "arguments"),
        ({"arguments": {"a b": 1}}, "arguments.a b"),
        ({"stepz": 3}, "stepz"),
    ],
)
def test_a_field_of_the_wrong_type_is_named(fields: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError) as caught:
        ImageRequest(**fields)
    assert str(caught.value.errors()[0]["loc"][0]) == said.partition(".")[0]
    assert said in str(caught.value)


@pytest.mark.rough(
    "requests",
    tried="prompts of nothing, emoji, NUL, escape sequences, 40 combining accents, 10,000 words",
    happens="painted, and kept in the recipe as they are",
    told="nothing is said",
)
@pytest.mark.parametrize("prompt", ["", "🎨🦊 👩‍👩‍👧‍👦", "a\0b\0", "\n\r\t\x1b[31m", "́" * 40, "a " * 10_000], ids=ascii)
def test_a_strange_prompt_is_painted_and_kept_as_it_is(studio: Studio, prompt: str, tmp_path: Path) -> None:
    result = studio.submit(quick(prompt=prompt, steps=1, guidance=1.0)).result(60)
    (path,) = result.save(tmp_path)
    recipe = read_recipe(path).recipe
    assert recipe is not None
    assert (recipe.asked.prompt, recipe.resolved.prompt) == (prompt, prompt)


def test_a_list_is_given_as_the_tuple_that_a_pipeline_takes(studio: Studio) -> None:
    model = str(zoo.saved("sdxl"))
    near, far = (
        studio.submit(quick(model=model, arguments={"original_size": size})).result(60).images[0]
        for size in ([64, 64], [1024, 1024])
    )
    assert studios.distance(near, far) > 0


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"arguments": {"timesteps": [900, 500, 1]}}, ("does not support custom timestep", "leave out `timesteps`")),
        ({"arguments": {"sigmas": [9.0, 1.0]}}, ("does not support custom sigmas", "`sigmas`")),
        ({"model": "flux-dev", "arguments": {"max_sequence_length": 9999}}, ("9999", "`max_sequence_length`")),
        ({"clip_skip": 4}, ("Clip skip 4", "3 layers", "use 1 to 3")),
    ],
)
def test_what_a_pipeline_refuses_while_it_runs_is_told(
    studio: Studio, fields: dict[str, Any], words: tuple[str, ...]
) -> None:
    if "model" in fields:
        fields = fields | {"model": str(zoo.saved(fields["model"]))}
    with company(studio):
        assert_told(failure(studio, quick(**fields)), ExitCode.INPUT, *words)


# --- models


def cut(file: str, *, kept: int | None = None, of_end: int = 0) -> Damage:
    def damage(folder: Path) -> None:
        content = (folder / file).read_bytes()
        (folder / file).write_bytes(content[: kept if kept is not None else len(content) - of_end])

    return damage


def remove(name: str) -> Damage:
    def damage(folder: Path) -> None:
        shutil.rmtree(folder / name) if (folder / name).is_dir() else (folder / name).unlink()

    return damage


def write(file: str, content: bytes) -> Damage:
    def damage(folder: Path) -> None:
        (folder / file).write_bytes(content)

    return damage


def edit(file: str, **changes: Any) -> Damage:
    def damage(folder: Path) -> None:
        content = json.loads((folder / file).read_text())
        (folder / file).write_text(json.dumps(content | changes))

    return damage


def lie(file: str, **changes: Any) -> Damage:
    """The header says something else of the file's first tensor."""

    def damage(folder: Path) -> None:
        content = (folder / file).read_bytes()
        length = int.from_bytes(content[:8], "little")
        header = json.loads(content[8 : 8 + length])
        first = next(name for name in header if name != "__metadata__")
        header[first] |= changes
        text = json.dumps(header).encode()
        (folder / file).write_bytes(len(text).to_bytes(8, "little") + text + content[8 + length :])

    return damage


@pytest.mark.rough(
    "models",
    tried="some thirty ways to break a folder: files empty, cut, a web page, an LFS pointer; lying headers; "
    "parts missing; configs of nonsense",
    happens="the part is named; others paint on; the folder stays as it was",
    told="exit 3, one line and a hint",
)
@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (cut(UNET_FILE, kept=0), (UNET_FILE, "is empty", "again")),
        (cut(UNET_FILE, kept=5), (UNET_FILE, "not a safetensors file")),
        (cut(UNET_FILE, kept=100), (UNET_FILE, "truncated")),
        (cut(UNET_FILE, of_end=1), (UNET_FILE, "truncated", "bytes are there", "again")),
        (write(UNET_FILE, b"<html>404 not found</html>" * 9), (UNET_FILE, "not a safetensors file")),
        (write(UNET_FILE, b"version https://git-lfs.github.com/spec/v1\n"), ("Git LFS pointer", "git lfs pull")),
        (lie(UNET_FILE, shape=[3, 3]), (UNET_FILE, "its shape needs 36")),
        (lie(UNET_FILE, dtype="F31"), (UNET_FILE, "unknown dtype `F31`")),
        (lie(UNET_FILE, data_offsets=[0, 10**12]), (UNET_FILE, "shape needs")),
        (lie(UNET_FILE, data_offsets=[-4, 4]), (UNET_FILE, "damaged")),
        (cut("vae/diffusion_pytorch_model.safetensors", of_end=9), ("vae", "truncated")),
        (cut("text_encoder/model.safetensors", of_end=9), ("text_encoder", "truncated")),
        (remove(UNET_FILE), ("`unet` has no weights",)),
        (remove("vae"), ("`vae` is missing", "model_index.json")),
        (remove("tokenizer"), ("`tokenizer` is missing",)),
        (remove("scheduler"), ("`scheduler` is missing",)),
        (remove("text_encoder/config.json"), ("text_encoder/config.json` is missing",)),
        (remove("model_index.json"), ("is not a model folder",)),
        (write("model_index.json", b"{"), ("model_index.json` is not JSON",)),
        (write("tokenizer/tokenizer.json", b"{}"), ("`tokenizer` could not be read",)),
        (edit("unet/config.json", down_block_types=["NoSuchBlock"]), ("`unet` could not be read",)),
        (edit("unet/config.json", in_channels=5), ("`unet` could not be read", "conv_in.weight")),
        (edit("unet/config.json", cross_attention_dim="wide"), ("model",)),
        (edit("vae/config.json", block_out_channels=[[]]), ("`vae`",)),
        (edit("vae/config.json", scaling_factor="much"), ("a value of the wrong kind", "again")),
        (
            edit("scheduler/scheduler_config.json", beta_schedule="none"),
            ("scheduler of `model`", "scheduler_config.json"),
        ),
        (edit("scheduler/scheduler_config.json", num_train_timesteps="many"), ("scheduler of `model`",)),
        (edit("model_index.json", _class_name="NoSuchPipeline"), ("`NoSuchPipeline`",)),
        (edit("model_index.json", _class_name="StableDiffusionInpaintPipeline"), ("not make pictures from text",)),
        (edit("model_index.json", unet=["diffusers", "NoSuchNet"]), ("`unet` is a `NoSuchNet`",)),
    ],
)
def test_a_broken_model_is_named_with_its_broken_part(
    studio: Studio, folder: Path, damage: Damage, words: tuple[str, ...]
) -> None:
    damage(folder)
    before = files_below(folder)
    with company(studio):
        error = failure(studio, quick(model=str(folder)))
    assert isinstance(error, InputError)
    assert_told(error, ExitCode.INPUT, *words)
    assert files_below(folder) == before


def test_a_model_runs_once_it_is_mended(studio: Studio, folder: Path) -> None:
    cut(UNET_FILE, of_end=40)(folder)
    failure(studio, quick(model=str(folder)))
    shutil.copy(zoo.saved("sd1") / UNET_FILE, folder / UNET_FILE)
    picture = studio.submit(quick(**COMPANY[0], model=str(folder))).result(60).images[0]
    assert studios.distance(picture, alone()[0]) <= 1.5 / 255


@pytest.mark.rough(
    "models",
    tried="a model that does not load, beside one in memory",
    happens="the one in memory stays there",
    told="exit 3, one line and a hint",
)
def test_a_failed_load_leaves_the_models_that_are_resident(folder: Path) -> None:
    cut(UNET_FILE, of_end=40)(folder)
    with studios.studio(max_models=2) as studio:
        studio.submit(quick()).result(60)
        failure(studio, quick(model=str(folder)))
        again = studio.submit(quick())
        again.result(60)
    assert "model-loading" not in [event.kind for event in again.events()]


@pytest.mark.rough(
    "models",
    tried="the text encoder of another model in the folder",
    happens="the component that fails is named, and why it may",
    told="exit 5, one line and a hint",
)
def test_parts_of_different_models_in_one_folder_are_told(studio: Studio, folder: Path) -> None:
    shutil.rmtree(folder / "text_encoder")
    shutil.copytree(zoo.saved("sdxl") / "text_encoder", folder / "text_encoder")
    with company(studio):
        error = failure(studio, quick(model=str(folder)))
    assert isinstance(error, ComponentError)
    assert_told(error, ExitCode.INTERNAL, "`unet` failed", "parts of different models")


# --- networks


def poisoned(part: str, weight: str, folder: Path) -> Path:
    pipeline: Any = zoo.build("sd1")
    parameter = getattr(pipeline, part).get_parameter(weight)
    parameter.data.view(-1)[0] = float("nan")
    pipeline.save_pretrained(folder)
    return folder


@pytest.mark.rough(
    "models",
    tried="NaN from the text encoder, the UNet or the VAE, exact and fast, while others paint",
    happens="no black picture; others paint on",
    told="exit 3, component and step",
)
@pytest.mark.parametrize(
    ("part", "weight", "said"),
    [
        ("text_encoder", "embeddings.position_embedding.weight", "`text_encoder` produced NaN"),
        ("unet", "conv_out.bias", "`unet` produced NaN or infinite values at step 0"),
        ("vae", "decoder.conv_out.bias", "`vae.decode` produced NaN"),
    ],
)
@pytest.mark.parametrize("exact", [False, True])
def test_a_network_that_gives_nan_is_named_and_no_picture_is_made(
    studio: Studio, part: str, weight: str, said: str, exact: bool, tmp_path: Path
) -> None:
    model = poisoned(part, weight, tmp_path / "model")
    with company(studio):
        handle = studio.submit(quick(model=str(model), count=2, exact=exact))
        with pytest.raises(NonFiniteError) as caught:
            handle.result(60)
    assert_told(caught.value, ExitCode.INPUT, said, "weights are damaged")
    assert handle.pictures == []
    assert [event.kind for event in handle.events()][-1] == "failed"


class Saboteur:
    """Waits in the UNet for the rows of one step of one request, and ruins the forward that holds them.

    Rows are known by their timestep, which depends on the number of steps.
    """

    def __init__(self, timestep: float, ruin: Callable[[torch.Tensor, Any], Any]) -> None:
        self.timestep = timestep
        self.ruin = ruin
        self.batches: list[int] = []
        """Rows of the forwards that held such rows."""

    def __call__(self, module: torch.nn.Module, args: Any, kwargs: Any, output: Any) -> Any:
        if not isinstance(module, UNet2DConditionModel):
            return output
        hit = kwargs["timestep"] == self.timestep  # [rows]
        if not bool(hit.any()):
            return output
        self.batches.append(len(hit))
        return self.ruin(hit, output)


def timesteps(**fields: Any) -> list[float]:
    """Of each forward of the UNet, for a request that is alone."""
    seen: list[float] = []

    def watch(module: torch.nn.Module, args: Any, kwargs: Any, output: Any) -> None:
        if isinstance(module, UNet2DConditionModel):
            seen.append(float(kwargs["timestep"][0]))

    hook = register_module_forward_hook(watch, with_kwargs=True)
    try:
        with studios.studio() as studio:
            studio.submit(quick(**fields)).result(60)
    finally:
        hook.remove()
    return seen


def with_nan(hit: torch.Tensor, output: Any) -> Any:
    sample = output[0].clone()
    sample[hit] = float("nan")
    return (sample, *output[1:]) if isinstance(output, tuple) else type(output)(sample=sample)


def with_an_error(hit: torch.Tensor, output: Any) -> Any:
    raise RuntimeError("a wire broke\nand much more")


@pytest.mark.rough(
    "crowds",
    tried="an error or NaN in a forward that holds the rows of several requests",
    happens="only the request that caused it ends",
    told="exit 3 or 5, component and step",
)
@pytest.mark.parametrize(
    ("ruin", "error", "code", "said"),
    [
        (with_nan, NonFiniteError, ExitCode.INPUT, "`unet` produced NaN or infinite values at step 3"),
        (with_an_error, ComponentError, ExitCode.INTERNAL, "`unet` failed: RuntimeError: a wire broke"),
    ],
)
def test_what_goes_wrong_in_a_merged_forward_is_one_requests_own(
    studio: Studio, ruin: Callable[[torch.Tensor, Any], Any], error: type[GessoError], code: ExitCode, said: str
) -> None:
    doomed = {"steps": 7, "sampler": "Euler", "seed": 5}
    at_step_3 = timesteps(**doomed)[3]
    assert all(at_step_3 not in timesteps(**fields) for fields in COMPANY)
    saboteur = Saboteur(at_step_3, ruin)
    hook = register_module_forward_hook(saboteur, with_kwargs=True)
    try:
        for _ in range(20):  # whether two requests meet in a forward is up to the moment
            with company(studio, times=2):
                found = failure(studio, quick(**doomed))
            assert type(found) is error
            assert_told(found, code, said)
            if max(saboteur.batches) > 2:
                break
    finally:
        hook.remove()
    assert max(saboteur.batches) > 2
    assert studio.submit(quick(**doomed)).result(60).images


@pytest.mark.rough(
    "threads",
    tried="the device's thread dies",
    happens="its requests end instead of waiting for ever",
    told="`ClosedError`: “… died …”",
)
def test_a_worker_that_cannot_start_fails_its_requests_instead_of_keeping_them() -> None:
    settings = studios.settings().model_copy(update={"threads": 2**70})
    with Studio(settings) as studio:
        error = failure(studio, quick())
    assert isinstance(error, ClosedError)
    assert "died" in error.message


def test_a_listener_that_fails_costs_nobody_a_picture(studio: Studio, caplog: pytest.LogCaptureFixture) -> None:
    def broken(event: Event) -> None:
        raise ZeroDivisionError

    with company(studio):
        assert studio.submit(quick(), listener=broken).result(60).images
    assert "A listener failed" in caplog.text


# --- disks


@pytest.fixture
def full_disk(tmp_path: Path) -> Iterator[Path]:
    with disks.full_disk(tmp_path / "disk"):
        yield tmp_path / "disk"


def test_a_full_disk_leaves_nothing_of_a_picture(studio: Studio, full_disk: Path) -> None:
    result = studio.submit(quick()).result(60)
    with company(studio), pytest.raises(StorageError) as caught:
        result.save(full_disk / "album" / "of today")
    assert_told(caught.value, ExitCode.RESOURCES, "No room left on the disk for", "free some space")
    assert list(full_disk.rglob("*")) == []


def test_a_picture_that_found_no_room_can_be_saved_elsewhere(studio: Studio, tmp_path: Path) -> None:
    result = studio.submit(quick()).result(60)
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StorageError):
        result.save(tmp_path / "file" / "a.png")
    (path,) = result.save(tmp_path / "elsewhere")
    assert read_recipe(path).recipe == result.recipes[0]


@pytest.mark.rough(
    "disks",
    tried="a journal on a full disk, while others paint",
    happens="its request ends; the others' pictures are as ever; no half entry",
    told="exit 4: “No room left …”",
)
def test_a_journal_that_finds_no_room_ends_its_request_alone(studio: Studio, full_disk: Path) -> None:
    with company(studio):
        error = failure(studio, quick(count=2), journal=full_disk / "journal")
    assert isinstance(error, StorageError)
    assert_told(error, ExitCode.RESOURCES, "No room left", "free some space")
    assert not [name for name in files_below(full_disk) if name.endswith(".part")]


@pytest.mark.rough(
    "disks",
    tried="saving into `/proc`, onto a file, below a file",
    happens="nothing is made; named",
    told="exit 4, one line and a hint",
)
@pytest.mark.parametrize("where", ["/proc/album", "taken/a.png", "taken"])
def test_a_folder_that_cannot_be_written_is_named(studio: Studio, where: str, tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file")
    result = studio.submit(quick()).result(60)
    with company(studio), pytest.raises(StorageError) as caught:
        result.save(tmp_path / where)
    assert_told(caught.value, ExitCode.RESOURCES, where.removesuffix("/a.png"), "--out")
    assert files_below(tmp_path) == ["taken"]


@pytest.mark.rough(
    "disks",
    tried="a cache that cannot be written (`/dev/null/cache`)",
    happens="pictures are made; digests are computed each time",
    told="a warning",
)
def test_a_cache_that_cannot_be_written_costs_only_time(caplog: pytest.LogCaptureFixture) -> None:
    with studios.studio(cache_folder=Path("/dev/null/cache")) as studio:
        recipe = studio.submit(quick()).result(60).recipes[0]
    assert recipe.run.fingerprint.weights.startswith("sha256:")
    assert "not kept" in caplog.text


# --- pictures and journals that somebody changed


def changed(recipe: Recipe, **fields: Any) -> Recipe:
    return recipe.model_copy(update={"resolved": recipe.resolved.model_copy(update=fields)})


@pytest.mark.rough(
    "pictures",
    tried="a recipe edited to a billion steps, a million pixels, an unknown sampler, 20,001 letters",
    happens="checked like what is asked, before anything runs",
    told="exit 3, one line and a hint",
)
@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"steps": 10**9}, ("steps 1000000000",)),
        ({"width": 7}, ("7x64",)),
        ({"height": 10**6}, ("1000000 px",)),
        ({"sampler": "brush"}, ("Unknown sampler: `brush`",)),
        ({"model": "/no/such/model"}, ("no folder `/no/such/model`",)),
        ({"arguments": {"latents": [1]}}, ("`latents`",)),
        ({"prompt": "x" * 20_001}, ("20,001 characters",)),
        ({"pipeline": "FooPipeline"}, ("pipeline `FooPipeline`",)),
    ],
)
def test_a_recipe_that_somebody_changed_is_checked_before_it_is_replayed(
    studio: Studio, fields: dict[str, Any], words: tuple[str, ...], tmp_path: Path
) -> None:
    result = studio.submit(quick()).result(60)
    recipe = changed(result.recipes[0], **fields)
    path = tmp_path / "changed.png"
    path.write_bytes(encode(result.images[0], recipe, recipe.resolved.output_format))
    with company(studio), pytest.raises(InputError) as caught:
        replay(studio, path)
    assert_told(caught.value, ExitCode.INPUT, *words)


def test_a_recipe_without_the_text_of_its_picture_is_refused(studio: Studio, tmp_path: Path) -> None:
    result = studio.submit(quick(count=2)).result(60)
    texts = PictureWords(prompt="a blue star", negative_prompt="", adapters=(), embeddings=(), missing=())
    recipe = changed(result.recipes[1], words=(texts,))
    path = tmp_path / "changed.png"
    path.write_bytes(encode(result.images[1], recipe, recipe.resolved.output_format))
    with company(studio), pytest.raises(InputError) as caught:
        replay(studio, path)
    assert_told(caught.value, ExitCode.INPUT, "Picture 1", "texts of 1 pictures")


@pytest.mark.rough(
    "pictures",
    tried="a trace edited to speak of forwards of a billion rows",
    happens="not believed; said to be altered",
    told="verdict `different`",
)
def test_a_trace_that_speaks_of_gigantic_forwards_is_not_believed(studio: Studio, tmp_path: Path) -> None:
    result = studio.submit(quick()).result(60)
    recipe = result.recipes[0]
    grown = tuple(
        entry.model_copy(
            update={"segments": tuple(each.model_copy(update={"batch_rows": 10**9}) for each in entry.segments)}
        )
        for entry in recipe.run.trace
    )
    recipe = recipe.model_copy(update={"run": recipe.run.model_copy(update={"trace": grown})})
    path = tmp_path / "grown.png"
    path.write_bytes(encode(result.images[0], recipe, recipe.resolved.output_format))
    report = replay(studio, path)
    assert "was altered" in report.lines[0]


@pytest.mark.rough(
    "pictures",
    tried="a journal whose request or list of pictures is damaged",
    happens="named; nothing is overwritten",
    told="exit 3: “… is damaged”",
)
@pytest.mark.parametrize(("file", "content"), [("request.json", "{"), ("request.json", "[]"), ("saved.json", "[1]")])
def test_a_damaged_journal_is_told(studio: Studio, file: str, content: str, tmp_path: Path) -> None:
    journal = tmp_path / "journal"
    journal.mkdir()
    (journal / file).write_text(content)
    with company(studio):
        error = failure(studio, quick(), journal=journal)
    assert isinstance(error, InputError)
    assert_told(error, ExitCode.INPUT, file, "is damaged", "remove the folder")
