"""Adapters as a user meets them: what a picture shows, what is told of them, and what is refused."""

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

import adapter_layouts as layouts
import studios
import zoo
from effects import Effect
from gesso.components.face import component_of
from gesso.core.errors import GessoError, InputError, ModelError, UnknownNameError
from gesso.core.requests import AdapterUse, ImageRequest
from gesso.engine import infotext
from gesso.engine.handle import Result
from gesso.engine.replay import Verdict, replay
from gesso.engine.studio import Studio
from gesso.primer import weights_folder
from gesso.primer.reading import read
from primer_edits import write_edit

PROMPT = "a large red heart on a teal background"
SEED = 2


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder with two adapters of the primer."""
    folder = tmp_path_factory.mktemp("models")
    write_edit(folder / "loras", "red", "blue")
    write_edit(folder / "loras" / "more", "red", "purple")
    return folder


@pytest.fixture(scope="module")
def studio(folder: Path) -> Iterator[Studio]:
    with studios.studio(model_folders=(folder,)) as opened:
        yield opened


def asked(*adapters: AdapterUse | str, **fields: Any) -> ImageRequest:
    uses = tuple(AdapterUse(name=one) if isinstance(one, str) else one for one in adapters)
    return ImageRequest(**{"prompt": PROMPT, "seed": SEED, "steps": 12, "adapters": uses} | fields)


def made(studio: Studio, *adapters: AdapterUse | str, **fields: Any) -> Result:
    return studio.submit(asked(*adapters, **fields)).result()


def quick(studio: Studio, *adapters: AdapterUse | str, **fields: Any) -> Result:
    """A few steps, for what is not looked at."""
    return made(studio, *adapters, **{"steps": 2} | fields)


def colour(result: Result) -> str | None:
    (thing,) = read(result.images[0]).things
    assert thing.shape == "heart"
    return thing.colour


def pixels(result: Result) -> str:
    return result.recipes[0].run.pixels_sha256


def adapter_in(folder: Path, name: str, tensors: dict[str, Tensor], **metadata: str) -> str:
    """The path of an adapter in `folder`."""
    path = folder / f"{name}.safetensors"
    save_file({key: value.contiguous() for key, value in tensors.items()}, path, metadata=metadata or None)
    return str(path)


def one_layer(name: str, outputs: int, inputs: int, *, size: float = 1.0) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(1)
    return {
        f"{name}.lora_down.weight": torch.randn(2, inputs, generator=generator) * size,
        f"{name}.lora_up.weight": torch.randn(outputs, 2, generator=generator) * size,
    }


MID = "lora_unet_mid_block_attentions_0_transformer_blocks_0_attn1_to_v"
MID_WIDTH: int = json.loads((weights_folder() / "unet" / "config.json").read_bytes())["block_out_channels"][-1]
TEXT = "lora_te_text_model_encoder_layers_0_mlp_fc1"


def test_pictures_at_the_same_time_each_show_their_own_adapter_with_the_bytes_of_a_lone_one(studio: Studio) -> None:
    requests = [asked(*names, exact=True) for names in (["red-is-blue"], ["red-is-purple"], [])]
    alone = [studio.submit(request).result() for request in requests]
    with studios.gathered(studio, "unet", 3):  # the texts were read before
        together = studios.run_together(studio, requests)
    assert [colour(result) for result in together] == ["blue", "purple", "red"]
    assert [pixels(result) for result in together] == [pixels(result) for result in alone]


def test_the_weight_of_an_adapter_decides_how_much_of_it_is_seen(studio: Studio) -> None:
    plain = made(studio, steps=4)
    found = [made(studio, AdapterUse(name="red-is-blue", weight=weight), steps=4) for weight in (0.0, 0.3, 1.0)]
    assert pixels(found[0]) == pixels(plain)
    distances = [studios.mean_distance(plain.images[0], result.images[0]) for result in found]
    assert distances[0] < distances[1] < distances[2]


def test_pictures_with_the_same_adapters_share_forwards(studio: Studio) -> None:
    requests = [asked("red-is-blue", steps=3, seed=seed) for seed in range(4)]
    studio.submit(requests[0]).result()
    with studios.gathered(studio, "unet", 4):  # the text was read before
        results = studios.run_together(studio, requests)
    assert all(studios.foreign_rows(result.recipes[0]) > 0 for result in results)


def test_the_base_is_one_copy_that_nothing_changes_and_adapters_leave_with_their_requests(studio: Studio) -> None:
    quick(studio)
    with studio.hosted(studio.resolve(asked()), None) as model:  # pyright: ignore[reportArgumentType]
        before = {key: value.clone() for key, value in model.network("unet").state_dict().items()}
        places = [parameter.data_ptr() for parameter in model.network("unet").parameters()]
        quick(studio, "red-is-blue", "red-is-purple")
        after = model.network("unet").state_dict()
        assert places == [parameter.data_ptr() for parameter in model.network("unet").parameters()]
        assert all(torch.equal(value, before[key]) for key, value in after.items())
        component = component_of(model.network("unet"))
        assert component is not None
        assert not any("forward" in part.__dict__ for part in component.module.modules())
    assert len(studio._adapters) == 0


def test_the_result_the_recipe_and_the_text_tell_of_the_adapters(studio: Studio) -> None:
    result = quick(studio, AdapterUse(name="red-is-blue", weight=0.5, blocks={"mid_block": 0.5}, stop=0.75))
    (report,) = result.adapters
    assert (report.name, report.algorithm, report.layers) == ("red-is-blue", "LoRA", {"unet": 14})
    assert (report.matched_keys, report.converted_keys, report.ignored_keys) == (42, 0, 0)
    (recipe,) = result.recipes
    assert recipe.run.adapters == (report,)
    (adapter,) = recipe.resolved.adapters
    assert adapter.sha256 == report.sha256
    assert recipe.run.fingerprint.adapters == (f"sha256:{report.sha256}:0.5@0-0.75,mid_block=0.5",)
    text = infotext.write(recipe)
    assert infotext.parse(text).pairs["Lora hashes"] == f"red-is-blue: {report.sha256[:10]}"
    assert infotext.parse(text).pairs["Adapters"] == "red-is-blue:0.5@0-0.75,mid_block=0.5"
    assert result.warnings == ()


def test_a_picture_is_made_again_with_its_adapters_and_refused_with_others(
    studio: Studio, folder: Path, tmp_path: Path
) -> None:
    mine = folder / "mine.safetensors"
    mine.write_bytes((folder / "loras" / "red-is-blue.safetensors").read_bytes())
    result = quick(studio, "mine")
    (path,) = result.save(tmp_path / "again.png")
    again = result.recipes[0].again()
    assert pixels(studio.submit(again).result()) == pixels(result)
    assert replay(studio, path).verdict is Verdict.IDENTICAL
    mine.write_bytes((folder / "loras" / "more" / "red-is-purple.safetensors").read_bytes())
    with pytest.raises(InputError, match="is not the adapter that was asked for"):
        studio.submit(again)
    with pytest.raises(InputError, match="is not the adapter that was asked for"):
        replay(studio, path)


def test_an_adapter_is_on_for_its_share_of_the_steps(studio: Studio) -> None:
    def calls(*adapters: AdapterUse) -> list[str]:
        (recipe,) = made(studio, *adapters, steps=4, sampler="Euler").recipes
        return [entry.digest for entry in recipe.run.trace if entry.component == "unet"]

    whole, none = calls(AdapterUse(name="red-is-blue")), calls()
    first_half = calls(AdapterUse(name="red-is-blue", stop=0.5))
    second_half = calls(AdapterUse(name="red-is-blue", start=0.5))
    assert len(whole) == 4
    assert [one == other for one, other in zip(whole, first_half, strict=True)] == [True, True, False, False]
    assert [one == other for one, other in zip(none, second_half, strict=True)] == [True, True, False, False]


def test_an_adapter_named_in_the_prompt_is_that_of_the_request(studio: Studio, tmp_path: Path, effect: Effect) -> None:
    named = quick(studio, prompt=f"{PROMPT}<lora:red-is-blue:0:0.7>")
    asked_for = quick(studio, AdapterUse(name="red-is-blue", weight=0.7, text_encoder_weight=0.0))
    effect(
        "`<lora:name:0:0.7>` in the prompt is the adapter at these weights for text encoder and denoiser: largest "
        "difference to the adapter named in the request",
        studios.distance(named.images[0], asked_for.images[0]),
        most=0,
        pictures={"without": quick(studio).images[0], "with": named.images[0]},
    )
    (recipe,) = named.recipes
    assert recipe.asked.prompt != recipe.resolved.prompt == PROMPT
    assert recipe.resolved.adapters[0].from_prompt
    (path,) = named.save(tmp_path / "named.png")
    assert replay(studio, path).verdict is Verdict.IDENTICAL
    assert pixels(studio.submit(recipe.again()).result()) == pixels(named)
    assert recipe.again(prompt="a red star").adapters == ()  # it leaves with the prompt that named it
    both = quick(studio, "red-is-purple", prompt=f"{PROMPT} <lora:red-is-blue>").recipes[0]
    assert [adapter.name for adapter in both.again(prompt="a star").adapters] == ["red-is-purple"]


def test_an_adapter_that_the_prompt_names_in_vain_is_an_error_and_in_automatic1111s_dialect_a_warning(
    studio: Studio,
) -> None:
    prompt = f"{PROMPT} <lora:red-is-blu:1> <hypernet:x:1>"
    with pytest.raises(UnknownNameError, match="red-is-blu"):
        studio.submit(asked(prompt=prompt.removesuffix(" <hypernet:x:1>")))
    result = quick(studio, prompt=prompt, dialect="a1111")
    assert pixels(result) == pixels(quick(studio))
    assert [warning.partition(" ")[0] for warning in result.warnings] == ["`<hypernet:x:1>`", "`<lora:red-is-blu:1>`"]
    assert result.recipes[0].resolved.missing == ("<hypernet:x:1>", "<lora:red-is-blu:1>")


def test_an_adapter_of_a_name_that_no_file_can_have_is_unknown(studio: Studio) -> None:
    with pytest.raises(UnknownNameError):
        studio.resolve(asked(prompt=f"{PROMPT} <lora:{'a' * 300}:1>"))


def test_an_adapter_named_in_the_negative_prompt_is_refused_and_words_in_automatic1111s_dialect(
    studio: Studio,
) -> None:
    with pytest.raises(InputError, match="in the negative prompt has no effect"):
        studio.resolve(asked(negative_prompt="<lora:red-is-blue:1> red"))
    resolved = studio.resolve(asked(negative_prompt="<lora:red-is-blue:1> red", dialect="a1111"))
    assert (resolved.negative_prompt, resolved.adapters) == ("<lora:red-is-blue:1> red", ())
    no_number = "<lora:red-is-blue:much>"
    assert studio.resolve(asked(negative_prompt=no_number, dialect="a1111")).negative_prompt == no_number


def test_blocks_have_weights_of_their_own(studio: Studio, tmp_path: Path) -> None:
    name = adapter_in(tmp_path, "mid", one_layer(MID, MID_WIDTH, MID_WIDTH, size=0.3))
    plain = pixels(quick(studio))
    assert pixels(quick(studio, name)) != plain
    assert pixels(quick(studio, AdapterUse(name=name, blocks={"mid_block": 0.0}))) == plain
    with pytest.raises(InputError, match="no layer in the block `up_blocks`") as refused:
        quick(studio, AdapterUse(name=name, blocks={"up_blocks": 0.0}))
    assert refused.value.hint == "it changes layers in mid_block"


def test_a_text_encoder_is_changed_by_a_weight_of_its_own(studio: Studio, tmp_path: Path) -> None:
    tensors = one_layer(MID, MID_WIDTH, MID_WIDTH, size=0.3) | one_layer(TEXT, 512, 128, size=0.3)
    both = adapter_in(tmp_path, "both", tensors)
    text = adapter_in(tmp_path, "text", one_layer(TEXT, 512, 128, size=0.3))
    denoiser = adapter_in(tmp_path, "denoiser", one_layer(MID, MID_WIDTH, MID_WIDTH, size=0.3))
    assert pixels(quick(studio, AdapterUse(name=both, text_encoder_weight=0.0))) == pixels(quick(studio, denoiser))
    assert pixels(quick(studio, AdapterUse(name=both, weight=0.0, text_encoder_weight=1.0))) == pixels(
        quick(studio, text)
    )
    assert len({pixels(quick(studio, *names)) for names in ([both], [text], [denoiser], [])}) == 4
    late = quick(studio, AdapterUse(name=both, start=0.5))
    assert "texts are read before the first step" in late.warnings[0]
    useless = quick(studio, AdapterUse(name=denoiser, text_encoder_weight=0.5))
    assert "it changes no text encoder" in useless.warnings[0]


def test_the_last_norm_of_a_text_encoder_is_changed_also_with_clip_skip(studio: Studio, tmp_path: Path) -> None:
    name = adapter_in(tmp_path, "norm", {"lora_te_text_model_final_layer_norm.diff": torch.full((128,), 0.5)})
    for clip_skip in (1, 2):
        assert pixels(quick(studio, name, clip_skip=clip_skip)) != pixels(quick(studio, clip_skip=clip_skip))


def test_keys_without_a_place_are_warned_of_and_an_error_if_strict(studio: Studio, folder: Path) -> None:
    tensors = load_file(folder / "loras" / "red-is-blue.safetensors")
    key = next(key for key in tensors if key.endswith("lora_up.weight"))
    misspelt = key.replace("attn2", "attn3")
    tensors[misspelt] = tensors.pop(key)
    name = adapter_in(folder, "misspelt", tensors)
    result = quick(studio, name)
    (warning,) = result.warnings
    assert "are IGNORED" in warning
    assert f"`{misspelt}`" in warning
    assert result.recipes[0].run.warnings == (warning,)
    assert misspelt in result.adapters[0].ignored
    assert result.adapters[0].ignored_keys == 3  # the other half of its layer and its alpha are of no use either
    with pytest.raises(InputError, match="IGNORED"):
        quick(studio, name, strict=True)
    quick(studio, "red-is-blue", strict=True)


def test_an_adapter_of_which_nothing_fits_is_an_error(studio: Studio, tmp_path: Path) -> None:
    name = adapter_in(tmp_path, "wide", one_layer(MID, 640, 640))
    with pytest.raises(InputError, match=r"Nothing of the adapter `wide` fits `primer` \(sd1\)"):
        quick(studio, name)
    assert len(studio._adapters) == 0


def test_an_adapter_of_another_family_is_refused_before_anything_runs(studio: Studio, tmp_path: Path) -> None:
    layer = "lora_unet_down_blocks_1_attentions_0_transformer_blocks_0_attn2_to_k"
    name = adapter_in(tmp_path, "large", one_layer(layer, 640, 2048))
    with pytest.raises(InputError, match="`large` is made for sdxl, `primer` is sd1") as caught:
        studio.submit(asked(name))
    assert str(caught.value.hint).startswith("it fits sdxl-base, ")


@pytest.mark.parametrize(
    ("tensors", "said"),
    [
        ({f"{MID}.oft_blocks": torch.ones(4, 8, 8), f"{MID}.alpha": torch.tensor(1.0)}, "of the kind OFT"),
        ({f"{MID}.on_input": torch.tensor(True), f"{MID}.weight": torch.ones(8)}, "of the kind IA3"),
        ({"emb_params": torch.ones(2, 768)}, "is a textual inversion, not an adapter"),
        ({"768.0.linear.0.weight": torch.ones(1536, 768)}, "is a hypernetwork, not an adapter"),
        ({"something": torch.ones(2)}, "is nothing that is known, not an adapter"),
    ],
)
def test_what_is_no_adapter_that_can_be_applied_is_refused_with_what_it_is(
    tensors: dict[str, Tensor], said: str, studio: Studio, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=said):
        studio.submit(asked(adapter_in(tmp_path, "other", tensors)))


@pytest.mark.parametrize(
    ("use", "said"),
    [
        (AdapterUse(name="red-is-blu"), "Unknown adapter: `red-is-blu`"),
        (AdapterUse(name="./nowhere.safetensors"), "There is no adapter"),
        (AdapterUse(name="red-is-blue", start=0.5, stop=0.5), "from 0.5 to 0.5 of the steps"),
        (AdapterUse(name="red-is-blue", stop=1.5), "from 0 to 1.5 of the steps"),
        (AdapterUse(name="red-is-blue", weight=1000), "at weight 1000"),
        (AdapterUse(name="red-is-blue", sha256="0" * 64), "is not the adapter that was asked for"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_runs(use: AdapterUse, said: str, studio: Studio) -> None:
    with pytest.raises(GessoError, match=said):
        studio.submit(asked(use))


def test_an_unknown_name_tells_the_nearest(studio: Studio) -> None:
    with pytest.raises(UnknownNameError) as refused:
        studio.submit(asked("red-is-blu"))
    assert "nearest: red-is-blue" in (refused.value.hint or "")


def test_a_damaged_adapter_is_refused(studio: Studio, folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "cut.safetensors"
    path.write_bytes((folder / "loras" / "red-is-blue.safetensors").read_bytes()[:-100])
    with pytest.raises(ModelError, match=r"cut\.safetensors"):
        studio.submit(asked(str(path)))


def test_two_files_of_one_name_are_told_apart_by_their_folders(studio: Studio, folder: Path) -> None:
    source = (folder / "loras" / "red-is-blue.safetensors").read_bytes()
    for where in ("one", "two"):
        (folder / where).mkdir(exist_ok=True)
        (folder / where / "twin.safetensors").write_bytes(source)
    with pytest.raises(ModelError, match="`twin` means 2 files: `one/twin`, `two/twin`"):
        studio.submit(asked("twin"))
    assert studio.resolve(asked("two/twin")).adapters[0].name == "two/twin"


def test_few_step_adapters_bring_their_sampler_steps_and_guidance(studio: Studio, folder: Path, tmp_path: Path) -> None:
    place = tmp_path / "lcm-lora-sdv1-5"
    place.mkdir()
    path = place / "pytorch_lora_weights.safetensors"
    path.write_bytes((folder / "loras" / "red-is-blue.safetensors").read_bytes())
    use = AdapterUse(name=str(place))
    result = made(studio, use, steps=None)
    resolved = result.recipes[0].resolved
    assert (resolved.sampler, resolved.steps, resolved.guidance) == ("LCM", 4, 1.0)
    assert result.adapters[0].sampled == "LCM-LoRA: sampler LCM, 4 steps, guidance 1"
    own = studio.resolve(asked(use, steps=7, sampler="Euler", guidance=1.5))
    assert (own.sampler, own.steps, own.guidance) == ("Euler", 7, 1.5)
    assert studio.resolve(asked(AdapterUse(name=str(place), weight=0), steps=None)).steps == 20
    burnt = made(studio, use, guidance=7.5, steps=2)
    assert "Guidance 7.5 burns pictures with `lcm-lora-sdv1-5`, which wants 1" in burnt.warnings


@pytest.mark.parametrize("kind", ["sd1", "sdxl", "sd3", "flux-dev"])
def test_the_picture_is_that_of_a_model_with_changed_weights(kind: str, tmp_path: Path) -> None:
    """Every linear layer and convolution of the denoiser and the text encoders is changed."""
    pipeline = zoo.built(kind)
    networks = {name: part for name, part in pipeline.components.items() if name.startswith(("unet", "transf", "text"))}
    networks = {name: part for name, part in networks.items() if isinstance(part, torch.nn.Module)}
    paths = {name: layouts.attention_paths(part) for name, part in networks.items()}
    changes = layouts.known_changes(networks, paths)
    merged: dict[str, Any] = {name: copy.deepcopy(part) for name, part in networks.items()}
    for change in changes:
        layer: Any = merged[change.network].get_submodule(change.path)
        layer.weight.data += change.delta
    changed = zoo.save(kind, tmp_path / "changed", **merged)
    tensors, metadata = layouts.kohya(changes, kind)
    layouts.write(tensors, metadata, tmp_path / "adapter.safetensors")
    size = {"width": zoo.PICTURE_PX, "height": zoo.PICTURE_PX, "steps": 3}
    with studios.studio() as opened:
        with_adapter = made(opened, str(tmp_path / "adapter.safetensors"), model=str(zoo.saved(kind)), **size)
        merged_one = made(opened, model=str(changed), **size)
        plain = made(opened, model=str(zoo.saved(kind)), **size)
    assert with_adapter.adapters[0].layers == {name: len(found) for name, found in paths.items() if found}
    assert studios.distance(with_adapter.images[0], merged_one.images[0]) <= 2 / 255
    assert studios.mean_distance(with_adapter.images[0], plain.images[0]) > 0.01
