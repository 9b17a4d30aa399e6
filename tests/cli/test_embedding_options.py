"""`gesso generate --embedding`: embeddings from the command line, told of in words and in JSON."""

from pathlib import Path

import pytest
import torch

import inversions
from cli_runs import Command
from gesso.core.embedding_text import parse_embedding
from gesso.core.requests import EmbeddingUse

SHORT = ("--steps", 1, "--seed", 3)


@pytest.fixture
def embedding(in_an_empty_folder: None) -> Path:
    return inversions.a1111(Path("models/embeddings/thing"), inversions.primer_vectors("a red star"))


@pytest.mark.parametrize(
    ("text", "use"),
    [
        ("anna", EmbeddingUse(name="anna")),
        ("people/anna=<anna>", EmbeddingUse(name="people/anna", word="<anna>")),
        ("C:\\my=files\\anna.pt = a woman", EmbeddingUse(name="C:\\my=files\\anna.pt", word="a woman")),
    ],
)
def test_an_embedding_is_one_word(text: str, use: EmbeddingUse) -> None:
    assert parse_embedding(text) == use


def test_pictures_with_an_embedding_tell_of_it_and_are_made_again(command: Command, embedding: Path) -> None:
    asked = ("a ohwx", *SHORT, "--negative", "thing", "--embedding", f"{embedding}=ohwx")
    ran = command("generate", *asked, "--out", "one.png", "--json")
    assert (ran.code, ran.err) == (0, "")
    (told,) = ran.data["embeddings"]
    assert (told["name"], told["word"], told["vectors"], told["in_prompt"]) == ("thing", "ohwx", 3, 1)
    assert "embedding  thing: `ohwx` is 3 vectors for `text_encoder`; 1 in" in command("show", "one.png").out
    again = command("generate", "--from", "one.png", "--out", "again.png", "--json")
    assert again.data["images"][0]["pixels_sha256"] == ran.data["images"][0]["pixels_sha256"]
    other = command("generate", "a thing", "--from", "one.png", "--no-embeddings-by-name", "--out", "2.png", "--json")
    assert "warning: The embedding `thing` is NOT USED: its word `ohwx` stands in no prompt" in other.err
    assert [report["in_prompt"] for report in other.data["embeddings"]] == [0]


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("--embedding", "thing", "--strict"), 3, "The embedding `thing` is NOT USED: its word `thing` stands in no"),
        (("--embedding", "thin"), 3, "nearest: thing"),
        (("--embedding", "=word"), 2, "`--embedding =word` is not understood: there is no name"),
        (("--embedding", "thing="), 2, "there is no word behind `=`"),
        (("--lora", "thing"), 3, "name it with `--embedding`"),
    ],
)
def test_what_is_wrong_is_told_in_a_line(
    arguments: tuple[str, ...], code: int, said: str, command: Command, embedding: Path
) -> None:
    ran = command("generate", "a star", *SHORT, *arguments)
    assert ran.code == code
    assert said in ran.err


def test_a_file_tells_its_vectors_widths_and_trigger(command: Command, embedding: Path) -> None:
    shown = [line.split() for line in command("models", "show", embedding).out.splitlines()]
    for line in (
        "kind textual inversion",
        "vectors 3",
        f"width {inversions.primer_vectors('red').shape[1]}",
        "trigger thing",
    ):
        assert line.split() in shown
    path = inversions.safetensors(Path("two"), {"clip_l": torch.ones(2, 768), "clip_g": torch.ones(2, 1280)})
    assert "clip_l 768, clip_g 1280\n" in command("models", "show", path).out
    path = inversions.diffusers_safetensors(Path("learned"), torch.ones(1, 768), token="<cat>")
    data = command("models", "show", path, "--json").data
    assert (data["trigger"], data["widths"], data["vectors"]) == ("<cat>", {"": 768}, 1)
