import json
import logging
import pickle
import shutil
import threading
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers.pipelines.pipeline_utils import DiffusionPipeline
from safetensors.torch import load_file, save_file
from torch import nn

import zoo
from gesso.core.errors import ModelError
from gesso.models.folder import ModelDescription, describe
from gesso.models.load import LoadedModel, load
from gesso.models.network import LOADING, quiet_libraries
from gesso.models.single_files.assemble import describe_file
from gesso.models.single_files.convert.convert import convert_model

DTYPES = [torch.float32, torch.bfloat16, torch.float16]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return Path(shutil.copytree(zoo.saved("sd1"), tmp_path / "model"))


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: Any, **kwargs: Any) -> Any:
        pytest.fail("somebody asked the network")

    monkeypatch.setattr("socket.socket.connect", refuse)
    monkeypatch.setattr("socket.getaddrinfo", refuse)


def loaded(path: Path, dtype: torch.dtype = torch.float32, **options: Any) -> LoadedModel:
    description = describe(path)
    return load(description, dtypes={part.name: dtype for part in description.networks}, **options)


def built(model: LoadedModel) -> Any:
    assert model.scheduler_class is not None
    scheduler = model.scheduler_class.from_config(model.scheduler_config)
    parts: dict[str, Any] = {**model.modules, **model.others, "scheduler": scheduler, **model.init_options}
    return model.pipeline_class(**parts)


def tensors(module: nn.Module) -> dict[str, torch.Tensor]:
    return {**dict(module.named_parameters()), **dict(module.named_buffers())}


def change_weights(path: Path, **changes: torch.Tensor | None) -> None:
    content = load_file(path)
    for name, tensor in changes.items():
        key = name.replace("__", ".")
        if tensor is None:
            del content[key]
        else:
            content[key] = tensor
    save_file({name: tensor.clone() for name, tensor in content.items()}, path, metadata={"format": "pt"})


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("kind", zoo.KINDS)
def test_every_tensor_is_what_diffusers_itself_loads(kind: str, dtype: torch.dtype) -> None:
    path = zoo.saved(kind)
    model = loaded(path, dtype)
    with quiet_libraries():
        plain: Any = DiffusionPipeline.from_pretrained(path, dtype=dtype, local_files_only=True)
    networks = {name: part for name, part in plain.components.items() if isinstance(part, nn.Module)}
    assert model.modules.keys() == networks.keys()
    for name, module in model.modules.items():
        assert type(module) is type(networks[name])
        assert vars(module.config).get("dtype") == vars(networks[name].config).get("dtype")
        ours, theirs = tensors(module), tensors(networks[name])
        assert ours.keys() == theirs.keys()
        for key, tensor in ours.items():
            assert tensor.dtype == theirs[key].dtype, f"{name}.{key}"
            assert torch.equal(tensor, theirs[key]), f"{name}.{key}"


@pytest.mark.parametrize("kind", zoo.KINDS)
def test_modules_are_on_the_cpu_in_evaluation_mode_without_gradients(kind: str) -> None:
    for module in loaded(zoo.saved(kind)).modules.values():
        assert not module.training
        assert not any(tensor.requires_grad for tensor in module.parameters())
        assert {tensor.device.type for tensor in tensors(module).values()} == {"cpu"}


@pytest.mark.parametrize("kind", zoo.KINDS)
def test_the_parts_make_the_pipeline_that_was_saved(kind: str) -> None:
    model, original = loaded(zoo.saved(kind)), zoo.built(kind)
    assert model.pipeline_class is type(original)
    pipe = built(model)
    assert pipe.components.keys() == original.components.keys()
    own = {name: value for name, value in original.config.items() if not isinstance(value, (list, tuple))}
    made = {name: value for name, value in pipe.config.items() if not isinstance(value, (list, tuple))}
    assert {name: made.get(name) for name in own if not name.startswith("_")} == {
        name: value for name, value in own.items() if not name.startswith("_")
    }


def test_each_network_gets_its_own_number_format() -> None:
    model = load(describe(zoo.saved("sdxl")), dtypes={"unet": torch.bfloat16, "text_encoder": torch.float16})
    found = {name: next(module.parameters()).dtype for name, module in model.modules.items()}
    assert found == {
        "text_encoder": torch.float16,
        "text_encoder_2": torch.float32,
        "unet": torch.bfloat16,
        "vae": torch.float32,
    }


@pytest.mark.parametrize("kind", ["sd3", "pixart"])
def test_loading_changes_nothing_that_other_threads_see(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import diffusers.utils.logging as diffusers_logging
    import transformers.utils.logging as transformers_logging

    wanted: list[torch.dtype] = []
    set_default_dtype = torch.set_default_dtype
    monkeypatch.setattr(torch, "set_default_dtype", lambda dtype: (wanted.append(dtype), set_default_dtype(dtype)))

    def state() -> list[Any]:
        libraries: list[Any] = [diffusers_logging, transformers_logging]
        return [(library.get_verbosity(), library.is_progress_bar_enabled()) for library in libraries]

    before, numbers = state(), torch.get_rng_state()
    loaded(zoo.saved(kind), torch.bfloat16)
    assert set(wanted) <= {torch.float32}
    assert torch.equal(torch.get_rng_state(), numbers)
    assert state() == before


def test_loading_says_nothing(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    loaded(folder, torch.bfloat16)
    assert capfd.readouterr() == ("", "")


def test_who_wants_the_libraries_quiet_does_not_wait_for_a_model_that_is_being_loaded() -> None:
    import transformers.utils.logging as transformers_logging

    before = transformers_logging.get_verbosity()
    inside: list[int] = []

    def look_up() -> None:
        with quiet_libraries():
            inside.append(transformers_logging.get_verbosity())

    with quiet_libraries(), LOADING:
        thread = threading.Thread(target=look_up)
        thread.start()
        thread.join(10)
        assert inside == [logging.CRITICAL]
        assert transformers_logging.get_verbosity() == logging.CRITICAL
    assert transformers_logging.get_verbosity() == before


def test_models_are_loaded_from_many_threads_at_once() -> None:
    found: dict[str, LoadedModel] = {}
    dtypes: dict[str, torch.dtype] = dict(zip(("sd1", "sdxl", "sd3"), DTYPES, strict=True))

    folders = {kind: zoo.saved(kind) for kind in dtypes}  # made before: who makes networks may not be beside who loads

    def read(kind: str) -> None:
        found[kind] = loaded(folders[kind], dtypes[kind])

    threads = [threading.Thread(target=read, args=(kind,)) for kind in dtypes]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for kind, dtype in dtypes.items():
        assert next(found[kind].modules["vae"].parameters()).dtype == dtype


def test_a_file_may_be_overwritten_while_its_model_is_in_use(folder: Path) -> None:
    unet = loaded(folder).modules["unet"]
    before = {name: tensor.clone() for name, tensor in tensors(unet).items()}
    weights = folder / "unet/diffusion_pytorch_model.safetensors"
    with weights.open("r+b") as file:  # in place, as `cp` does
        file.seek(1000)
        file.write(bytes(weights.stat().st_size - 1000))
    assert all(torch.equal(tensor, before[name]) for name, tensor in tensors(unet).items())


def test_tied_weights_stay_tied() -> None:
    encoder: Any = loaded(zoo.saved("sd3")).modules["text_encoder_3"]
    assert encoder.shared.weight is encoder.encoder.embed_tokens.weight


# --- what is broken


def test_a_truncated_weight_file_is_refused_before_anything_is_loaded(folder: Path) -> None:
    weights = folder / "vae/diffusion_pytorch_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(ModelError, match=r"vae/diffusion_pytorch_model\.safetensors` is truncated"):
        loaded(folder)


@pytest.mark.parametrize(
    ("file", "key", "part"),
    [
        ("unet/diffusion_pytorch_model.safetensors", "conv_in__weight", "unet"),
        ("text_encoder/model.safetensors", None, "text_encoder"),
    ],
)
def test_a_missing_tensor_is_refused_instead_of_left_to_chance(
    folder: Path, file: str, key: str | None, part: str
) -> None:
    name = key or next(name for name in load_file(folder / file) if "layers.0" in name).replace(".", "__")
    change_weights(folder / file, **{name: None})
    with pytest.raises(ModelError, match=f"`{part}` lacks weights: .*{name.rpartition('__')[2]}"):
        loaded(folder)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_a_tensor_of_another_shape_is_refused(folder: Path, dtype: torch.dtype) -> None:
    weights = folder / "unet/diffusion_pytorch_model.safetensors"
    change_weights(weights, conv_in__bias=torch.zeros(3))
    with pytest.raises(ModelError, match=r"`unet`.*conv_in\.bias") as caught:
        loaded(folder, dtype)
    assert "\n" not in caught.value.message


def test_weights_of_another_network_are_refused(folder: Path) -> None:
    name = "text_encoder/model.safetensors"
    shutil.copy(zoo.saved("sd2") / "unet/diffusion_pytorch_model.safetensors", folder / name)
    with pytest.raises(ModelError, match="`text_encoder` lacks weights"):
        loaded(folder)


def test_weights_that_the_network_has_no_place_for_are_mentioned(folder: Path) -> None:
    change_weights(folder / "unet/diffusion_pytorch_model.safetensors", extra__weight=torch.zeros(3))
    change_weights(folder / "text_encoder/model.safetensors", other__weight=torch.zeros(3))
    warnings = loaded(folder).warnings
    assert any("`unet`" in line and "`extra.weight`" in line for line in warnings)
    assert any("`text_encoder`" in line and "`other.weight`" in line for line in warnings)
    assert loaded(zoo.saved("sd1")).warnings == ()


def test_a_damaged_vocabulary_is_one_line(folder: Path) -> None:
    (folder / "tokenizer/tokenizer.json").write_text('{"model": 3')
    with pytest.raises(ModelError, match="`tokenizer` could not be read") as caught:
        loaded(folder)
    assert "\n" not in caught.value.message


def rename(folder: Path, **changes: Any) -> None:
    index = json.loads((folder / "model_index.json").read_text()) | changes
    (folder / "model_index.json").write_text(
        json.dumps({name: value for name, value in index.items() if value is not ...})
    )


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"_class_name": "SomeFuturePipeline"}, "needs `SomeFuturePipeline`, which diffusers"),
        ({"_class_name": "AutoencoderKL"}, "needs `AutoencoderKL`, which diffusers"),
        ({"unet": ["diffusers", "SomeFutureUNet"]}, "`unet` is a `SomeFutureUNet`"),
        ({"text_encoder": ["transformers", "SomeFutureEncoder"]}, "`text_encoder` is a `SomeFutureEncoder`"),
        ({"scheduler": ["diffusers", "SomeFutureScheduler"]}, "`scheduler` is a `SomeFutureScheduler`"),
        ({"tokenizer": ...}, "`tokenizer` is missing: `StableDiffusionPipeline` needs it"),
    ],
)
def test_a_class_or_part_that_is_not_here_is_named(folder: Path, changes: dict[str, Any], said: str) -> None:
    rename(folder, **changes)
    with pytest.raises(ModelError, match=said):
        loaded(folder)


def test_a_part_that_the_pipeline_does_not_take_is_mentioned(folder: Path) -> None:
    shutil.copytree(folder / "vae", folder / "second_vae")
    rename(folder, second_vae=["diffusers", "AutoencoderKL"])
    model = loaded(folder)
    assert "second_vae" not in model.modules
    assert any("`second_vae`" in line for line in model.warnings)


def test_other_forms_of_weights_are_loaded_alike(tmp_path: Path) -> None:
    reference = loaded(zoo.saved("sd1"), torch.float16)
    pipe: Any = zoo.build("sd1")
    pipe.save_pretrained(tmp_path / "shards", max_shard_size="400KB")
    pipe.save_pretrained(tmp_path / "pickles", safe_serialization=False)
    encoder = tmp_path / "pickles/text_encoder"
    torch.save(load_file(encoder / "model.safetensors"), encoder / "pytorch_model.bin")
    (encoder / "model.safetensors").unlink()
    pipe.to(torch.float16).save_pretrained(tmp_path / "half", variant="fp16")
    for form in ("shards", "pickles", "half"):
        model = loaded(tmp_path / form, torch.float16)
        for name, module in reference.modules.items():
            for key, tensor in tensors(module).items():
                assert torch.equal(tensor, tensors(model.modules[name])[key]), f"{form}: {name}.{key}"


# --- what is not trusted


class Trap:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


def test_code_in_a_pickle_is_not_run(folder: Path, tmp_path: Path) -> None:
    for weights in ("unet/diffusion_pytorch_model", "text_encoder/model"):
        (folder / f"{weights}.safetensors").unlink()
    for name in ("unet/diffusion_pytorch_model.bin", "text_encoder/pytorch_model.bin"):
        torch.save({"a": Trap(tmp_path / "ran")}, folder / name)
    with pytest.raises(ModelError, match="could not be read"):
        loaded(folder)
    (folder / "unet/diffusion_pytorch_model.bin").write_bytes(pickle.dumps(Trap(tmp_path / "ran"), protocol=2))
    with pytest.raises(ModelError, match="could not be read"):
        loaded(folder)
    assert not (tmp_path / "ran").exists()


@pytest.fixture
def with_code(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModelDescription:
    modules = tmp_path / "modules"
    monkeypatch.setattr("diffusers.utils.dynamic_modules_utils.HF_MODULES_CACHE", str(modules))
    monkeypatch.syspath_prepend(str(modules))
    code = f"""
from pathlib import Path
from diffusers import StableDiffusionPipeline
Path({str(tmp_path / "ran")!r}).touch()
class MyPipeline(StableDiffusionPipeline):
    pass
"""
    (folder / "my_pipeline.py").write_text(code)
    rename(folder, _class_name=["my_pipeline", "MyPipeline"])
    return describe(folder)


def test_code_that_comes_with_a_model_is_not_run_unasked(with_code: ModelDescription, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="brings Python code of its own") as caught:
        load(with_code, dtypes={})
    assert "trust_remote_code" in (caught.value.hint or "")
    assert not (tmp_path / "ran").exists()


def test_trusted_code_is_run(with_code: ModelDescription, tmp_path: Path) -> None:
    model = load(with_code, dtypes={"unet": torch.bfloat16}, trust_remote_code=True)
    assert (tmp_path / "ran").exists()
    assert model.pipeline_class.__name__ == "MyPipeline"
    assert next(model.modules["unet"].parameters()).dtype == torch.bfloat16
    assert next(model.modules["vae"].parameters()).dtype == torch.float32
    built(model)


# --- the safety checker


@pytest.fixture
def checked(tmp_path: Path) -> Path:
    return zoo.save("sd1", tmp_path / "checked", **zoo.safety_checker())


def test_the_safety_checker_stays_out_until_asked_for(checked: Path, caplog: pytest.LogCaptureFixture) -> None:
    model = loaded(checked)
    assert "safety_checker" not in model.modules
    assert model.others["safety_checker"] is None
    assert model.others["feature_extractor"] is None
    with caplog.at_level(logging.WARNING):
        built(model)
    assert "safety" not in caplog.text


def test_the_safety_checker_comes_when_asked_for(checked: Path) -> None:
    model = loaded(checked, safety_checker=True)
    assert type(model.modules["safety_checker"]).__name__ == "StableDiffusionSafetyChecker"
    assert model.others["feature_extractor"] is not None


def test_the_extractor_of_old_folders_goes_by_its_old_name(checked: Path) -> None:
    rename(checked, feature_extractor=["transformers", "CLIPFeatureExtractor"])
    assert loaded(checked, safety_checker=True).others["feature_extractor"] is not None


def test_a_checker_that_was_asked_for_and_deleted_is_an_error(checked: Path) -> None:
    shutil.rmtree(checked / "safety_checker")
    loaded(checked)
    with pytest.raises(ModelError, match="`safety_checker` was asked for and is missing"):
        loaded(checked, safety_checker=True)


def test_a_model_without_a_checker_loads_where_checkers_are_wanted() -> None:
    assert "safety_checker" not in loaded(zoo.saved("sd1"), safety_checker=True).modules


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("kind", ["sd1", "sdxl", "sd3", "flux-dev"])
def test_every_tensor_is_the_same_from_a_single_file(kind: str, dtype: torch.dtype, tmp_path: Path) -> None:
    path = tmp_path / "one.ckpt"
    convert_model(describe(zoo.saved(kind)), path, cache_folder=tmp_path / "cache")
    description = describe_file(path, cache_folder=tmp_path / "cache")
    before = torch.get_default_dtype()
    model = load(description, dtypes={part.name: dtype for part in description.networks})
    assert torch.get_default_dtype() == before
    for name, module in loaded(zoo.saved(kind), dtype).modules.items():
        ours, theirs = tensors(model.modules[name]), tensors(module)
        assert ours.keys() == theirs.keys()
        for key, tensor in ours.items():
            assert tensor.dtype == theirs[key].dtype, f"{name}.{key}"
            assert torch.equal(tensor, theirs[key]), f"{name}.{key}"
            assert not tensor.is_meta
