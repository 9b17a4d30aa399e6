"""A plan is checked before anything runs; what is wrong with it is told in one line."""

from pathlib import Path

import pytest

from gesso.core.errors import InputError
from gesso.primer import weights_folder
from gesso.training.primer.plan import TrainingPlan, read_plan


def written(folder: Path, text: str) -> Path:
    path = folder / "plan.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_plan_needs_no_more_than_a_folder(tmp_path: Path) -> None:
    plan = read_plan(written(tmp_path, "out: trained\n"))
    assert plan.out == tmp_path / "trained"
    assert plan.start == weights_folder()


def test_paths_are_seen_from_the_folder_of_the_plan(tmp_path: Path) -> None:
    plan = read_plan(written(tmp_path, "out: /elsewhere/x\nstart: ../base\n"))
    assert (plan.out, plan.start) == (Path("/elsewhere/x"), tmp_path / "../base")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "holds no keys"),
        ("- out", "holds no keys"),
        ("out: [", "is not a YAML file (line"),
        ("steps: 5", "lacks `out`"),
        ("out: x\nstep: 5", "unknown key: `step`"),
        ("out: x\nvalidation: {promts: 5}", "unknown key: `validation.promts`"),
        ("out: x\nsteps: many", "`steps` in"),
        ("out: x\nsteps: 0", "(found `0`)"),
        ("out: x\nlearning_rate: .nan", "`learning_rate` in"),
        ("out: x\nlearning_rate: -1", "greater than 0"),
        ("out: x\ncaption_dropout: 1", "`caption_dropout` in"),
        ("out: x\npictures: 8", "at least one batch: 8 < 32"),
        ("out: x\nunet_channels: [32, 64]", "needs `fresh: true`"),
        ("out: x\npart: unet", "`part` in"),
        ("out: x\npart: vae\nvae_channels: [32, 64]", "`vae_channels` needs `fresh: true`"),
        ("out: x\nfresh: true\nvae_channels: [32, 64]", "`vae_channels` has no meaning for `part: denoiser`"),
        ("out: x\npart: decoder\nunet_channels: [32, 64]", "`unet_channels` has no meaning for `part: decoder`"),
        ("out: x\npart: vae\ncaption_dropout: 0.1", "`caption_dropout` has no meaning for `part: vae`"),
        ("out: x\npart: decoder\nkl_weight: 0.1", "`kl_weight` has no meaning for `part: decoder`"),
        ("out: x\nwhole_pictures_steps: 5", "`whole_pictures_steps` has no meaning for `part: denoiser`"),
        ("out: x\nedge_weight: 1", "`edge_weight` has no meaning for `part: denoiser`"),
        ("out: x\npart: vae\nedge_weight: -1", "`edge_weight` in"),
        ("out: x\nvalidation: 3", "`validation` in"),
        ("!!python/object/apply:os.system ['true']", "is not a YAML file"),
    ],
)
def test_a_broken_plan_is_refused_in_one_line_that_names_what_is_wrong(tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(InputError) as raised:
        read_plan(written(tmp_path, text))
    assert told in raised.value.message
    assert "\n" not in raised.value.message


def test_the_nearest_key_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError) as raised:
        read_plan(written(tmp_path, "out: x\nlerning_rate: 1"))
    assert raised.value.hint == "nearest: learning_rate"


def test_a_file_that_is_not_there_or_no_text_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="could not be read"):
        read_plan(tmp_path / "none.yaml")
    with pytest.raises(InputError, match="could not be read"):
        read_plan(tmp_path)
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00\x01")
    with pytest.raises(InputError, match="is not a YAML file"):
        read_plan(tmp_path / "binary.yaml")


@pytest.mark.parametrize("cooldown", ["linear", "cosine"])
def test_the_learning_rate_rises_stays_and_falls_to_zero(cooldown: str) -> None:
    plan = TrainingPlan.model_validate(
        {"out": "x", "steps": 100, "warmup_steps": 10, "cooldown_steps": 40, "learning_rate": 0.5, "cooldown": cooldown}
    )
    rates = [plan.learning_rate_at(step) for step in range(101)]
    assert rates[0] == pytest.approx(0.05)
    assert rates[:10] == sorted(rates[:10])
    assert set(rates[10:60]) == {0.5}
    assert rates[60:] == sorted(rates[60:], reverse=True)
    assert rates[80] == pytest.approx(0.25)
    assert rates[100] == pytest.approx(0)


def test_by_default_the_learning_rate_falls_all_the_way() -> None:
    plan = TrainingPlan(out=Path("x"), steps=100, warmup_steps=0)
    assert plan.learning_rate_at(50) < plan.learning_rate_at(10) < plan.learning_rate
