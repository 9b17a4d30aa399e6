"""Another VAE for one request: its decoder and encoder apart, beside a model that all requests share."""

import io
import json
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

import zoo
from gesso.components.hosting import Hosting
from gesso.components.scope import ImageScope, entered
from gesso.components.worker import DeviceWorker
from gesso.core.errors import InputError, ModelError, UnknownNameError
from gesso.core.events import PreviewReady
from gesso.core.requests import ImageRequest, Precision, VaeUse
from gesso.devices.cpu import CpuDevice
from gesso.engine.handle import Result
from gesso.engine.replay import Verdict, replay
from gesso.engine.studio import Studio
from gesso.engine.vaes import stand_in
from gesso.models.families import FAMILIES, share_vae
from gesso.models.folder import describe
from gesso.models.single_files.convert.convert import convert_model
from gesso.models.vaes import LatentSpace
from studios import distance, gathered, run_together, studio
from zoo.networks import tiny_vae, vae

WEIGHTS = "diffusion_pytorch_model.safetensors"


@pytest.fixture
def opened() -> Iterator[Studio]:
    Path("models").mkdir()
    with studio() as one:
        yield one


@pytest.fixture
def other(opened: Studio) -> str:
    """The VAE of another SD 1, as a file in the model folder."""
    shutil.copy(zoo.saved("sd1", 1) / "vae" / WEIGHTS, "models/other-vae.safetensors")
    return "other-vae"


def request(**fields: Any) -> ImageRequest:
    model = str(fields.pop("model", zoo.saved("sd1")))
    side = {"width": zoo.PICTURE_PX, "height": zoo.PICTURE_PX}
    return ImageRequest(**{"prompt": "a red circle", "seed": 3, "steps": 2, "model": model, **side, **fields})


def painted(opened: Studio, **fields: Any) -> Result:
    return opened.submit(request(**fields)).result(100)


def bytes_of(result: Result) -> bytes:
    return result.images[0].tobytes()


def write_tiny(folder: Path, *, name: str = "taesd", seed: int = 5) -> Any:
    """A tiny VAE as a folder of diffusers, and the two files that its maker would write. Returns the network."""
    network: Any = zoo.stir(tiny_vae(channels=4), seed)
    network.save_pretrained(folder / "tiny")
    for half, shift in (("decoder", 1), ("encoder", 0)):
        layers = getattr(network, half).layers.state_dict()
        named = {f"{int(key.split('.')[0]) + shift}.{key.partition('.')[2]}": layers[key] for key in layers}
        save_file(named, folder / f"{name}_{half}.safetensors")
        torch.save(named, folder / f"{name}_{half}.pth")
    return network


def test_a_vae_by_name_paints_as_the_same_part_does(opened: Studio, other: str, tmp_path: Path) -> None:
    file = Path("models/other-vae.safetensors").resolve()
    expected = bytes_of(painted(opened, parts={"vae": str(file)}))
    for asked in (other, str(file), str(zoo.saved("sd1", 1)), str(zoo.saved("sd1", 1) / "vae")):
        assert bytes_of(painted(opened, vae=asked)) == expected, asked
    assert bytes_of(painted(opened, vae="none")) == bytes_of(painted(opened)) != expected
    result = painted(opened, vae_decoder=other)
    assert bytes_of(result) == expected
    recipe = result.recipes[0]
    assert recipe.resolved.vae_decoder is not None
    assert (recipe.resolved.vae_decoder.name, recipe.resolved.vae_encoder) == (other, None)
    assert [(entry.component, entry.method) for entry in recipe.run.trace][-1] == (
        "vae (other-vae.safetensors)",
        "decode",
    )
    assert recipe.run.fingerprint.vaes[0].startswith(f"decoder sha256:{recipe.resolved.vae_decoder.sha256}")
    (path,) = result.save(tmp_path / "one.png")
    assert replay(opened, path).verdict is Verdict.IDENTICAL


def test_encoder_and_decoder_are_chosen_apart(opened: Studio, other: str) -> None:
    resolved = opened.resolve(request(vae="none", vae_encoder=other))
    assert resolved.vae_decoder is None
    assert resolved.vae_encoder is not None
    both = opened.resolve(request(vae=other, vae_encoder="none"))
    assert (both.vae_decoder, both.vae_encoder) == (resolved.vae_encoder, None)
    assert bytes_of(painted(opened, vae_encoder=other)) == bytes_of(painted(opened))


def test_requests_with_different_vaes_share_the_denoiser_and_its_forwards(opened: Studio, other: str) -> None:
    asked = [request(seed=seed, vae=vae, guidance=1) for seed, vae in enumerate(["none", other])]
    alone = [opened.submit(one).result(100) for one in asked]
    hosted = len(opened._hosting)
    with gathered(opened, "unet", 2):  # the texts were read before
        together = run_together(opened, asked)
    assert len(opened._hosting) == hosted == 4  # text encoder, UNet and two VAEs
    for one, result in zip(alone, together, strict=True):
        assert distance(one.images[0], result.images[0]) <= 1 / 255
        calls = [entry for entry in result.recipes[0].run.trace if entry.component == "unet"]
        assert calls[0].segments[0].batch_rows == 2


def test_a_vae_beside_the_checkpoint_is_its_vae_unless_told_otherwise(opened: Studio) -> None:
    checkpoint = Path("models/mine.v1.safetensors")
    convert_model(describe(zoo.saved("sd1")), checkpoint, cache_folder=opened.settings.cache_folder)
    own = bytes_of(painted(opened, model=checkpoint))
    torch.save({"state_dict": load_file(zoo.saved("sd1", 1) / "vae" / WEIGHTS)}, "models/mine.v1.vae.pt")
    beside = painted(opened, model=checkpoint)
    assert bytes_of(beside) == bytes_of(painted(opened, vae=str(zoo.saved("sd1", 1)))) != own
    assert bytes_of(painted(opened, model=checkpoint, vae="auto")) == bytes_of(beside)
    assert bytes_of(painted(opened, model=checkpoint, vae="none")) == own
    Path("models/mine.v1.vae.pt").write_bytes(b"no weights")
    with pytest.raises(ModelError, match=r"The VAE beside `mine.v1.safetensors` cannot be used") as caught:
        painted(opened, model=checkpoint)
    assert caught.value.hint == "`--vae none` takes the model's own"


def test_what_was_decided_is_what_is_made_again(opened: Studio, other: str, tmp_path: Path) -> None:
    """Whatever came to lie beside the checkpoint since, and not with a file of another content."""
    checkpoint = Path("models/mine.safetensors")
    convert_model(describe(zoo.saved("sd1")), checkpoint, cache_folder=opened.settings.cache_folder)
    own, chosen = painted(opened, model=checkpoint), painted(opened, model=checkpoint, vae_decoder=other)
    shutil.copy(zoo.saved("sd1", 2) / "vae" / WEIGHTS, "models/mine.vae.safetensors")
    for result in (own, chosen):
        assert bytes_of(opened.submit(result.recipes[0].again()).result(100)) == bytes_of(result)
    assert bytes_of(opened.submit(own.recipes[0].again(vae=other)).result(100)) == bytes_of(chosen)
    assert bytes_of(opened.submit(chosen.recipes[0].again(vae="none")).result(100)) == bytes_of(own)
    shutil.copy(zoo.saved("sd1", 2) / "vae" / WEIGHTS, "models/other-vae.safetensors")
    with pytest.raises(InputError, match="is not the VAE that was asked for"):
        opened.submit(chosen.recipes[0].again())
    Path("models/mine.vae.safetensors").write_bytes(b"no weights")
    assert replay(opened, own.save(tmp_path / "own.png")[0]).verdict is Verdict.IDENTICAL


def test_a_tiny_vae_in_every_form_decodes_what_the_denoiser_sees(opened: Studio) -> None:
    network = write_tiny(Path("models"))
    pipeline: Any = zoo.build("sd1", vae=network)
    expected = pipeline(
        "a red circle", width=64, height=64, num_inference_steps=2, generator=torch.Generator().manual_seed(3)
    ).images[0]
    results = [
        painted(opened, **{field: name})
        for field, name in {
            "vae": "models/tiny",
            "vae_decoder": "models/taesd_decoder.safetensors",
        }.items()
    ]
    results.append(painted(opened, vae="models/taesd_decoder.pth"))
    assert len({bytes_of(result) for result in results}) == 1
    assert results[0].recipes[0].resolved.vae_encoder is not None
    assert results[2].recipes[0].resolved.vae_encoder is None
    assert distance(results[0].images[0], expected) <= 1 / 255


def test_an_encoder_of_other_factors_gives_latents_in_those_of_the_model() -> None:
    """No pipeline encodes yet: asked of the model's own VAE, as one would."""
    own: Any = zoo.stir(vae(channels=4, scale=0.2, shift=0.1), 0)
    tiny: Any = zoo.stir(tiny_vae(channels=4), 0)
    picture, latents = torch.rand(1, 3, 64, 64), torch.randn(1, 4, 8, 8)
    wanted, decoded = tiny.encode(picture).latents, tiny.decode(latents).sample
    spaces = LatentSpace(0.2, 0.1), LatentSpace(1.0, 0.0)
    hosting, worker = Hosting(), DeviceWorker(CpuDevice(), threads=1)
    one, other = (
        hosting.host(module, name=name, worker=worker, dtype=torch.float32)
        for name, module in {"vae": own, "tiny": tiny}.items()
    )
    stand_ins = {("vae", method): stand_in(other, method, *spaces) for method in ("encode", "decode")}
    with entered(ImageScope(stand_ins=stand_ins)):
        torch.testing.assert_close((own.encode(picture).latents - 0.1) * 0.2, wanted)
        torch.testing.assert_close(own.decode(z=latents / 0.2 + 0.1, return_dict=False)[0], decoded)
    assert not torch.equal(own.decode(latents).sample, decoded)
    hosting.release(one)
    worker.close()


@pytest.mark.parametrize(
    ("kind", "chosen", "said"),
    [
        ("sd1", "sd3", "has latents of 16 channels, `sd1-0` of 4"),
        ("sd1", "sdxl", "scales its latents by 0.13025, `sd1-0` by 0.18215"),
    ],
)
def test_a_vae_of_other_latents_is_refused_with_what_fits(kind: str, chosen: str, said: str, opened: Studio) -> None:
    with pytest.raises(InputError, match=said) as caught:
        painted(opened, model=zoo.saved(kind), vae=str(zoo.saved(chosen) / "vae"))
    assert caught.value.hint is not None
    assert "fits" in caught.value.hint


def test_a_refusal_names_what_is_here_and_would_fit(opened: Studio, other: str) -> None:
    shutil.copy(zoo.saved("sd3") / "vae" / WEIGHTS, "models/sixteen.safetensors")
    with pytest.raises(InputError, match="has latents of 16 channels") as caught:
        painted(opened, vae="sixteen")
    assert caught.value.hint is not None
    assert caught.value.hint.endswith("are here: other-vae")


def test_the_vae_of_a_checkpoint_serves_the_families_that_share_it() -> None:
    pairs = {("sd1", "sd2"), ("sdxl-refiner", "sdxl"), ("flux1", "z-image"), ("flux2", "flux2-klein")}
    assert all(share_vae(name, FAMILIES[other]) for name, other in pairs)
    assert not any(share_vae(name, FAMILIES[other]) for name, other in {("sd1", "sdxl"), ("sd3", "flux1")})


def test_bad_names_and_files_are_told(opened: Studio, other: str) -> None:
    write_tiny(Path("models"))
    cases: list[tuple[dict[str, Any], type[InputError], str]] = [
        ({"vae": "othervae"}, UnknownNameError, "Unknown VAE: `othervae`"),
        ({"vae": "./nowhere.safetensors"}, InputError, "There is no VAE `./nowhere.safetensors`"),
        ({"vae": "models"}, InputError, "it has no `config.json`"),
        ({"vae_encoder": "taesd_decoder"}, InputError, "has no encoder"),
        ({"vae": str(zoo.saved("sd1") / "unet" / WEIGHTS)}, InputError, "is a `UNet2DConditionModel`"),
        ({"vae": VaeUse(name="none", precision=Precision.FLOAT16)}, InputError, "takes no digest and no number format"),
        ({"vae": VaeUse(name=other, sha256="0" * 64)}, InputError, "is not the VAE that was asked for"),
    ]
    for fields, kind, said in cases:
        with pytest.raises(kind) as caught:
            painted(opened, **fields)
        assert said in str(caught.value)
    with pytest.raises(UnknownNameError) as unknown:
        painted(opened, vae="othervae")
    assert unknown.value.hint is not None
    assert "nearest: other-vae" in unknown.value.hint


def overflowing(folder: Path) -> Path:
    """SD 1 whose VAE computes beyond 65,504, stored in float16 and silent about it."""
    shutil.copytree(zoo.saved("sd1"), folder)
    weights = {name: value.half() for name, value in load_file(folder / "vae" / WEIGHTS).items()}
    weights["decoder.conv_in.weight"] = weights["decoder.conv_in.weight"] * 1e4
    save_file(weights, folder / "vae" / WEIGHTS)
    config = json.loads((folder / "vae" / "config.json").read_text())
    (folder / "vae" / "config.json").write_text(json.dumps({**config, "force_upcast": False}))
    return folder


def test_a_vae_that_overflows_in_half_precision_never_gives_a_black_picture(opened: Studio, tmp_path: Path) -> None:
    folder = overflowing(tmp_path / "overflowing")
    half: dict[str, Any] = {
        "precision": Precision.FLOAT16,
        "exact": True,
    }  # bytes of pictures made together are compared
    expected = painted(opened, **half, vae=VaeUse(name=str(folder), precision=Precision.FLOAT32))
    calm, wild = run_together(
        opened, [request(**half), request(**half, vae=VaeUse(name=str(folder), precision=Precision.FLOAT16))]
    )
    assert bytes_of(wild) == bytes_of(expected)
    assert bytes_of(painted(opened, model=folder, **half)) == bytes_of(expected)
    run = wild.recipes[0].run
    assert run.redone_in_float32 == ("vae (overflowing).decode",)
    assert wild.warnings == run.warnings
    assert wild.warnings == ("`vae (overflowing).decode` overflowed in half precision and was done again in float32",)
    assert (expected.recipes[0].run.redone_in_float32, calm.recipes[0].run.redone_in_float32) == ((), ())
    assert bytes_of(calm) == bytes_of(painted(opened, **half))
    (path,) = wild.save(tmp_path / "wild.png")
    assert replay(opened, path).verdict is Verdict.IDENTICAL


def previews_of(opened: Studio, **fields: Any) -> tuple[Sequence[Image.Image], Result]:
    handle = opened.submit(request(**fields))
    shown = [Image.open(io.BytesIO(event.png)) for event in handle.events() if isinstance(event, PreviewReady)]
    return shown, handle.result(100)


def test_a_tiny_vae_of_the_family_makes_the_previews_if_one_is_here(tmp_path: Path) -> None:
    Path("models").mkdir()
    with studio(previews=True) as opened:
        small, plain = previews_of(opened)
        write_tiny(Path("models"), name="taesdxl")  # of another family, and of the very same shapes
        unchanged, _ = previews_of(opened)
        assert {one.size for one in (*small, *unchanged)} == {(8, 8)}
        write_tiny(Path("models"), name="taesd")
        large, result = previews_of(opened, vae_decoder="taesd_decoder")
        # The last preview is of the latents that the picture is decoded of.
        assert [one.size for one in large] == [(64, 64)] * 2
        assert distance(large[-1], result.images[0]) <= 1 / 255
        _, again = previews_of(opened)
    assert bytes_of(again) == bytes_of(plain)
    assert len(again.recipes[0].run.trace) == len(plain.recipes[0].run.trace)
