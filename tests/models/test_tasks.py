"""Which class of diffusers does what with the networks of a model."""

import pytest
from diffusers.pipelines import auto_pipeline

from gesso.models import tasks
from gesso.models.tasks import INSTRUCTED, Task, pipelines_for


@pytest.mark.parametrize("pipeline", sorted(tasks._KNOWN))
def test_the_pairs_that_stand_in_the_table_are_those_of_diffusers(pipeline: str) -> None:
    assert dict(pipelines_for(pipeline)) == {Task.TEXT_TO_IMAGE: pipeline, **tasks._asked(pipeline)}


def test_diffusers_is_asked_for_classes_that_are_in_no_table() -> None:
    assert pipelines_for("Kandinsky3Pipeline") == {
        Task.TEXT_TO_IMAGE: "Kandinsky3Pipeline",
        Task.IMAGE_TO_IMAGE: "Kandinsky3Img2ImgPipeline",
    }
    assert pipelines_for("PixArtSigmaPipeline") == {Task.TEXT_TO_IMAGE: "PixArtSigmaPipeline"}


def test_every_class_that_takes_an_instruction_is_one_of_diffusers() -> None:
    import diffusers

    assert all(hasattr(diffusers, name) for name in INSTRUCTED)
    edits = {kind.__name__ for key, kind in auto_pipeline.AUTO_IMAGE2IMAGE_PIPELINES_MAPPING.items() if "edit" in key}
    assert edits <= INSTRUCTED
