"""One map of names for both ways, true to the modules of diffusers and transformers and to published files."""

import gzip
import json
from pathlib import Path

import pytest

from gesso.models.single_files.find import needless
from gesso.models.single_files.known_models import known_models
from gesso.models.single_files.maps.networks import SPELLINGS, original_layers
from thin_models import FULL, original_shapes, released_networks

GOLDEN = Path(__file__).parents[1] / "golden" / "single_files"


@pytest.mark.parametrize("release", FULL)
def test_a_map_names_every_tensor_of_the_module_once(release: str) -> None:
    for part, shapes in released_networks(release).values():
        for keys in SPELLINGS[part.class_name](part.config):
            ours = [name for entry in keys.entries for name in entry.diffusers]
            assert sorted(ours) == sorted(shapes)
            assert len(keys.by_original) == len(keys.entries)
            for entry in keys.entries:
                if entry.rows:
                    assert [shapes[name][0] for name in entry.diffusers] == list(entry.rows)


@pytest.mark.parametrize("path", sorted(GOLDEN.glob("*.json.gz")), ids=lambda path: path.name.partition(".json")[0])
def test_names_and_shapes_are_those_of_published_files(path: Path) -> None:
    with gzip.open(path, "rt") as file:
        golden = json.load(file)
    ours, theirs = original_shapes(golden["release"]), golden["keys"]
    assert ours.keys() - theirs.keys() == set()
    assert theirs.keys() - ours.keys() == set(golden["not_written"])
    assert {name: list(shape) for name, shape in ours.items()} == {name: theirs[name] for name in ours}
    assert all(needless(name) for name in golden["not_written"])


def test_a_fused_layer_names_its_parts_and_their_rows() -> None:
    config = known_models()["flux1"].parts["transformer"].config
    fused = original_layers("FluxTransformer2DModel", config)["single_blocks.7.linear1"]
    block = "single_transformer_blocks.7"
    assert fused.diffusers == (*(f"{block}.attn.to_{name}" for name in "qkv"), f"{block}.proj_mlp")
    assert fused.rows == (3072, 3072, 3072, 12288)
