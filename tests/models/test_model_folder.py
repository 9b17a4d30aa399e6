import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import zoo
from gesso.core.errors import ModelError
from gesso.models.families import FAMILIES, Role, Sampling
from gesso.models.folder import ModelDescription, describe, verify
from gesso.models.verified import VERIFIED

PRIMER = Path(__file__).parents[2] / "src/gesso/primer/weights"
READ = Path("/proc/self/io")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A thin SD 1 folder of one's own."""
    return Path(shutil.copytree(zoo.saved("sd1"), tmp_path / "model"))


def edit(path: Path, **changes: Any) -> None:
    content = json.loads(path.read_text()) | changes
    path.write_text(json.dumps({name: value for name, value in content.items() if value is not ...}))


@pytest.mark.parametrize(
    ("kind", "family", "title", "multiple_px"),
    [
        ("sd1", "sd1", "Stable Diffusion 1.x", 8),
        ("sd2", "sd2", "Stable Diffusion 2.x", 8),
        ("sdxl", "sdxl", "Stable Diffusion XL", 8),
        ("sd3", "sd3", "Stable Diffusion 3", 16),
        ("flux-dev", "flux1", "Flux.1 dev", 16),
        ("flux-schnell", "flux1", "Flux.1 schnell", 16),
        ("z-image", "z-image", "Z-Image", 16),
        ("z-image-turbo", "z-image", "Z-Image Turbo", 16),
        ("flux2", "flux2", "Flux.2 dev", 16),
        ("flux2-klein", "flux2-klein", "Flux.2 klein", 16),
        ("flux2-klein-base", "flux2-klein", "Flux.2 klein base", 16),
        ("qwen-image", "qwen-image", "Qwen-Image", 16),
    ],
)
def test_a_first_class_family_is_known_from_its_folder(kind: str, family: str, title: str, multiple_px: int) -> None:
    found = describe(zoo.saved(kind), name=kind)
    assert found.name == kind
    assert found.family is not None
    assert (found.family.name, found.family.title) == (family, title)
    assert found.size_multiple_px == multiple_px
    stable = family.startswith("sd")  # only their configs have a sample size
    assert found.default_size_px == ((64, 64) if stable else (found.family.native_size_px,) * 2)
    assert {role: len(found.with_role(role)) for role in (Role.DENOISER, Role.VAE)} == {Role.DENOISER: 1, Role.VAE: 1}
    assert found.latent_rgb == found.family.latent_rgb
    assert not found.custom_code
    verify(found)


# Those that are not 64: the pipeline's own size where no config tells, or as many latents as binning asks for.
SIDES: dict[str, int] = dict.fromkeys(("chroma", "ovis", "bria", "aura-flow", "kandinsky3", "sana-sprint"), 1024)
SIDES |= {"pixart": 256, "pixart-alpha": 256, "sana": 512}


@pytest.mark.parametrize("kind", zoo.OTHERS)
def test_any_other_pipeline_is_described_without_a_family(kind: str) -> None:
    found = describe(zoo.saved(kind))
    assert found.family is None
    assert found.latent_rgb is None
    assert {component.role for component in found.networks} == {Role.TEXT, Role.DENOISER, Role.VAE}
    assert found.size_multiple_px == (VERIFIED[found.pipeline_class].size_multiple_px if kind != "bria" else 16)
    assert found.default_size_px == (SIDES.get(kind, 64),) * 2
    verify(found)


@pytest.mark.parametrize("kind", zoo.KINDS)
def test_sizes_and_bytes_are_those_of_the_loaded_pipeline(kind: str) -> None:
    found, pipe = describe(zoo.saved(kind)), zoo.built(kind)
    factor: int = getattr(pipe, "vae_scale_factor", 8)  # Kandinsky 3 writes its 8 into the code
    assert found.vae_factor == (factor // 2 if kind == "bria" else factor)  # which counts its packing too
    for component in found.networks:
        module = getattr(pipe, component.name)
        stored = {tensor.data_ptr(): tensor for tensor in module.state_dict().values()}.values()  # tied ones once
        assert component.weight_values == sum(tensor.numel() for tensor in stored)
        assert component.weight_bytes == sum(tensor.nbytes for tensor in stored)
        assert component.dtype == "float32"
        # Of the batch norm in Flux.2's autoencoder, a counter of 8 bytes is stored beside the weights.
        assert component.bytes_at(2) * 2 + (4 if component.class_name == "AutoencoderKLFlux2" else 0) == (
            component.weight_bytes
        )
    assert found.weight_bytes == sum(component.weight_bytes for component in found.networks)
    assert found.scheduler_class == type(pipe.scheduler).__name__


def test_a_folder_may_bring_its_own_steps_and_guidance(tmp_path: Path) -> None:
    folder = zoo.save("sd1", tmp_path / "model")
    assert describe(folder).defaults is None
    (folder / "defaults.json").write_text('{"steps": 4, "guidance": 1.5}')
    assert describe(folder).defaults == Sampling(steps=4, guidance=1.5)
    (folder / "defaults.json").write_text('{"steps": 4}')
    with pytest.raises(ModelError, match=r"defaults\.json` holds no steps and guidance"):
        describe(folder)


def test_the_primer_is_described_with_its_own_preview_factors() -> None:
    found = describe(PRIMER, name="primer")
    assert found.family is FAMILIES["sd1"]
    assert found.default_size_px == (128, 128)
    assert {component.dtype for component in found.networks} == {"float16"}
    assert found.latent_rgb is not None
    assert found.latent_rgb != FAMILIES["sd1"].latent_rgb
    assert any(found.latent_rgb_bias)
    verify(found)


def test_the_factors_of_a_family_are_not_used_for_another_vae(folder: Path) -> None:
    edit(folder / "vae/config.json", scaling_factor=0.5)
    assert describe(folder).latent_rgb is None


def test_preview_factors_that_do_not_fit_the_vae_are_refused(folder: Path) -> None:
    (folder / "preview.json").write_text(json.dumps({"latent_rgb": [[1, 0, 0]] * 3}))
    with pytest.raises(ModelError, match="should hold 4 rows of 3"):
        describe(folder)


@pytest.mark.skipif(not READ.exists(), reason="Linux counts what a process reads")
def test_describing_reads_headers_and_no_weights() -> None:
    path = zoo.saved("sd3")
    describe(path)  # the first one imports
    before = bytes_read()
    describe(path)
    assert bytes_read() - before < 0.25 * sum(file.stat().st_size for file in path.rglob("*.safetensors"))


def bytes_read() -> int:
    """By this process, of files or anything else."""
    return int(READ.read_text().split()[1])


def test_a_picture_need_not_be_square(folder: Path) -> None:
    edit(folder / "unet/config.json", sample_size=[8, 12])
    assert describe(folder).default_size_px == (96, 64)


@pytest.mark.parametrize(
    ("vae", "multiple_px"),
    [
        ({"block_out_channels": [4, 8]}, 8),  # the pipeline itself checks 8
        ({"block_out_channels": [4] * 5}, 16),
        ({"block_out_channels": ..., "encoder_block_out_channels": [4] * 6}, 32),
        ({"block_out_channels": ..., "down_block_out_channels": [4] * 4}, 8),
        ({"block_out_channels": ..., "temperal_downsample": [False, True, True, True]}, 16),
        ({"block_out_channels": ...}, 8),
    ],
)
def test_the_size_multiple_follows_from_the_vae(folder: Path, vae: dict[str, Any], multiple_px: int) -> None:
    edit(folder / "vae/config.json", **vae)
    assert describe(folder).size_multiple_px == multiple_px


def test_a_unet_makes_any_multiple_of_eight() -> None:
    pipe: Any = zoo.built("sd1")
    found = describe(zoo.saved("sd1"))
    width, height = 9 * found.size_multiple_px, 11 * found.size_multiple_px
    assert pipe("", width=width, height=height, num_inference_steps=1, output_type="pil").images[0].size == (
        width,
        height,
    )


def remove(part: str) -> Callable[[Path], None]:
    def apply(folder: Path) -> None:
        path = folder / part
        shutil.rmtree(path) if path.is_dir() else path.unlink()

    return apply


def put(file: str, text: str) -> Callable[[Path], None]:
    def apply(folder: Path) -> None:
        (folder / file).write_text(text)

    return apply


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (remove("model_index.json"), r"not a model folder: it has no `model_index\.json`"),
        (put("model_index.json", "{"), r"model_index\.json` is not JSON"),
        (put("model_index.json", "[]"), "should hold a JSON object"),
        (put("model_index.json", "{}"), "names no pipeline"),
        (remove("vae"), "`vae` is missing"),
        (remove("tokenizer"), "`tokenizer` is missing"),
        (remove("scheduler"), "`scheduler` is missing"),
        (remove("unet/config.json"), r"unet/config\.json` is missing"),
        (put("unet/config.json", '{"a": 1'), r"unet/config\.json` is not JSON"),
        (remove("unet/diffusion_pytorch_model.safetensors"), "`unet` has no weights"),
        (remove("scheduler/scheduler_config.json"), r"scheduler_config\.json` is missing"),
        (remove("tokenizer/tokenizer.json"), "`tokenizer` is incomplete: no vocabulary"),
        (lambda folder: edit(folder / "model_index.json", vae=[None, None]), "does not name it"),
    ],
)
def test_what_is_missing_or_broken_is_named_with_a_remedy(
    folder: Path, damage: Callable[[Path], None], said: str
) -> None:
    damage(folder)
    with pytest.raises(ModelError, match=said) as caught:
        describe(folder)
    assert caught.value.hint
    assert "\n" not in caught.value.message


def test_a_path_that_is_no_folder_says_so(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="There is no folder"):
        describe(tmp_path / "nothing")
    checkpoint = tmp_path / "v1-5.safetensors"
    checkpoint.write_bytes(b"")
    with pytest.raises(ModelError, match="is a file, and a model is a folder"):
        describe(checkpoint)


def test_the_safety_checker_may_be_missing_since_nobody_needs_it(tmp_path: Path) -> None:
    folder = zoo.save("sd1", tmp_path / "model", **zoo.safety_checker())
    assert describe(folder).with_role(Role.SAFETY)
    shutil.rmtree(folder / "safety_checker")
    shutil.rmtree(folder / "feature_extractor")
    found = describe(folder)
    assert not found.with_role(Role.SAFETY)
    verify(found)


def test_a_damaged_checker_matters_only_when_it_is_asked_for(tmp_path: Path) -> None:
    folder = zoo.save("sd1", tmp_path / "model", **zoo.safety_checker())
    weights = folder / "safety_checker/model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])
    verify(describe(folder))
    with pytest.raises(ModelError, match="truncated"):
        verify(describe(folder), safety_checker=True)


def test_a_truncated_file_is_described_and_not_verified(folder: Path) -> None:
    weights = folder / "unet/diffusion_pytorch_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1000])
    found = describe(folder)
    with pytest.raises(ModelError, match=r"unet/diffusion_pytorch_model\.safetensors` is truncated"):
        verify(found)


@pytest.fixture
def sharded(tmp_path: Path) -> Path:
    path = tmp_path / "sharded"
    zoo.build("sd1").save_pretrained(path, max_shard_size="400KB")
    return path


def test_weights_in_several_files_count_together(sharded: Path) -> None:
    found, single = describe(sharded), describe(zoo.saved("sd1"))
    unet = found.components["unet"]
    assert len(unet.weight_files) > 1
    assert unet.weight_bytes == single.components["unet"].weight_bytes
    verify(found)


def test_a_shard_without_the_tensor_that_the_index_promises_is_refused(sharded: Path) -> None:
    index = sharded / "unet/diffusion_pytorch_model.safetensors.index.json"
    content = json.loads(index.read_text())
    content["weight_map"]["nowhere.weight"] = next(iter(content["weight_map"].values()))
    index.write_text(json.dumps(content))
    with pytest.raises(ModelError, match=r"lacks `nowhere\.weight`"):
        verify(describe(sharded))


def test_half_precision_variants_are_found_where_there_is_nothing_else(tmp_path: Path) -> None:
    zoo.build("sd1").save_pretrained(tmp_path / "half", variant="fp16")
    found = describe(tmp_path / "half")
    variants = [component.weights.variant for component in found.networks if component.weights]
    assert variants == ["fp16"] * 3


def custom(description: ModelDescription) -> bool:
    return description.custom_code


def test_code_that_a_folder_brings_is_noticed_without_running_it(folder: Path, tmp_path: Path) -> None:
    trap = f"open({str(tmp_path / 'ran')!r}, 'w')\n"
    (folder / "handler.py").write_text(trap)  # lies beside many models, and no pipeline runs it
    assert not custom(describe(folder))
    edit(folder / "model_index.json", unet=["my_unet", "MyUNet"])
    (folder / "unet/my_unet.py").write_text(trap)
    assert custom(describe(folder))
    edit(folder / "model_index.json", unet=["diffusers", "UNet2DConditionModel"], _class_name=["pipeline", "Mine"])
    (folder / "pipeline.py").write_text(trap)
    found = describe(folder)
    assert custom(found)
    assert found.pipeline_class == "Mine"
    assert not (tmp_path / "ran").exists()


def test_a_processor_in_place_of_a_tokenizer_needs_a_vocabulary(tmp_path: Path) -> None:
    path = Path(shutil.copytree(zoo.saved("flux2"), tmp_path / "model"))
    edit(path / "model_index.json", tokenizer=["transformers", "PixtralProcessor"])
    found = describe(path)
    assert found.components["tokenizer"].role is None
    assert "chat_template" in found.components["tokenizer"].config or (path / "tokenizer/chat_template.jinja").is_file()
    (path / "tokenizer/tokenizer.json").unlink()
    with pytest.raises(ModelError, match="`tokenizer` is incomplete"):
        describe(path)


@pytest.mark.parametrize(
    ("kind", "part", "channels"),
    [
        ("z-image", "transformer", 32),
        ("flux2", "text_encoder", 8),
        ("qwen-image", "vae", 4),
        ("qwen-image", "transformer", 32),
    ],
)
def test_the_width_of_a_network_is_found_whatever_its_config_calls_it(kind: str, part: str, channels: int) -> None:
    assert describe(zoo.saved(kind)).components[part].channels == channels
