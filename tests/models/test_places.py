"""Whose folder a link leads to, and which folders of it hold models."""

from pathlib import Path

import pytest

from gesso.core.errors import ModelError
from gesso.models.places import FolderLayout, LinkedFolder, recognise_link


def folders(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).mkdir(parents=True, exist_ok=True)
    return root


def roots(linked: LinkedFolder) -> list[str]:
    return [place.root.relative_to(linked.folder).as_posix() for place in linked.places]


@pytest.mark.parametrize(
    ("names", "layout", "searched"),
    [
        (("models/Stable-diffusion", "models/Lora"), FolderLayout.A1111, ["models"]),
        (
            ("models/Stable-diffusion", "embeddings", "extensions/sd-webui-controlnet/models"),
            FolderLayout.A1111,
            ["models", "embeddings", "extensions/sd-webui-controlnet/models"],
        ),
        (("models/Stable-diffusion", "modules_forge", "embeddings"), FolderLayout.FORGE, ["models", "embeddings"]),
        (("models/Stable-diffusion", "models/Diffusers", "models/UNET"), FolderLayout.SD_NEXT, ["models"]),
        (("Stable-diffusion", "Lora"), FolderLayout.A1111, ["."]),
        (("models/checkpoints", "models/loras", "custom_nodes"), FolderLayout.COMFYUI, ["models"]),
        (("checkpoints", "text_encoders"), FolderLayout.COMFYUI, ["."]),
        (("models--org--name/snapshots",), FolderLayout.HUB, ["."]),
        (("hub/models--org--name/snapshots", "datasets"), FolderLayout.HUB, ["hub"]),
        (("downloads", "models"), FolderLayout.PLAIN, ["."]),
        ((), FolderLayout.PLAIN, ["."]),
    ],
)
def test_folders_of_other_studios_are_told_apart(
    names: tuple[str, ...], layout: FolderLayout, searched: list[str], tmp_path: Path
) -> None:
    linked = recognise_link(folders(tmp_path, *names))
    assert (linked.layout, roots(linked)) == (layout, searched)


def test_a_list_of_folders_is_followed_as_comfyui_follows_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHELF", str(tmp_path / "shelf"))
    folders(tmp_path, "webui/models/Lora", "webui/models/LyCORIS", "shelf/decoders", "beside")
    file = tmp_path / "extra_model_paths.yaml"
    file.write_text(
        "a1111:\n"
        f"    base_path: {tmp_path}/webui/\n"
        "    is_default: true\n"
        "    loras: |\n"
        "         models/Lora\n"
        "         models/LyCORIS\n"
        "    checkpoints: models/Stable-diffusion\n"
        "empty:\n"
        "shelf:\n"
        "    base_path: $SHELF\n"
        "    vae: decoders\n"
        "here:\n"
        "    unet: beside\n"
        "    custom_nodes: nodes\n"
    )
    linked = recognise_link(file)
    assert linked.layout is FolderLayout.EXTRA_PATHS
    assert {place.root.relative_to(tmp_path).as_posix(): place.title for place in linked.places} == {
        "webui/models/Lora": "loras",
        "webui/models/LyCORIS": "loras",
        "shelf/decoders": "vae",
        "beside": "unet",
    }
    assert linked.missing == (tmp_path / "webui/models/Stable-diffusion",)


def test_the_list_in_a_folder_of_comfyui_counts_too(tmp_path: Path) -> None:
    folders(tmp_path, "comfy/models/checkpoints", "comfy/models/loras", "other")
    (tmp_path / "comfy/extra_model_paths.yaml").write_text("more:\n  loras: ../other\n")
    linked = recognise_link(tmp_path / "comfy")
    assert [place.root for place in linked.places] == [tmp_path / "comfy/models", tmp_path / "other"]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("- a\n- b\n", "is no list of folders"),
        ("a: [1, 2]\n", "is no list of folders"),
        ("a:\n  loras: [x]\n", "`loras` in .* should be folders"),
        ("a: {", "is not YAML"),
    ],
)
def test_a_list_that_is_none_says_so(text: str, reason: str, tmp_path: Path) -> None:
    file = tmp_path / "extra_model_paths.yaml"
    file.write_text(text)
    with pytest.raises(ModelError, match=reason):
        recognise_link(file)


def test_what_is_no_folder_cannot_be_linked(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for path in (tmp_path / "nothing", tmp_path / "file"):
        with pytest.raises(ModelError, match="could not be read as a folder"):
            recognise_link(path)
