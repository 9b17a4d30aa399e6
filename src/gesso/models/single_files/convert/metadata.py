"""What a single file says of itself: the facts of https://github.com/Stability-AI/ModelSpec 1.0.1, and its folder."""

from gesso.models.folder import ModelDescription
from gesso.models.single_files.assemble import small_files
from gesso.models.single_files.embedded import KEY, embed
from gesso.models.single_files.skeleton import SmallFiles

_ARCHITECTURES = {
    "sd1": "stable-diffusion-v1",
    "sdxl": "stable-diffusion-xl-v1-base",
    "flux1": "flux-1-schnell",
}
_IMPLEMENTATIONS = {
    "sd3": "https://github.com/Stability-AI/sd3.5",
    "flux1": "https://github.com/black-forest-labs/flux",
}
_LARGE_SD3_BLOCKS = 38


def metadata_of(description: ModelDescription, left_out: tuple[str, ...]) -> dict[str, str]:
    """The metadata of the single file of a model.

    Args:
        left_out: parts that a single file has no place for.
    """
    width, height = description.default_size_px
    family = description.family.name if description.family is not None else ""
    said = {
        "format": "pt",
        "modelspec.sai_model_spec": "1.0.1",
        "modelspec.architecture": _architecture(description, family),
        "modelspec.implementation": _IMPLEMENTATIONS.get(family, "https://github.com/Stability-AI/generative-models"),
        "modelspec.title": description.name,
        "modelspec.resolution": f"{width}x{height}",
        KEY: embed(_own_files(description, left_out)),
    }
    prediction = description.scheduler_config.get("prediction_type")
    if isinstance(prediction, str) and prediction in _PREDICTIONS:
        said["modelspec.prediction_type"] = _PREDICTIONS[prediction]
    return said


_PREDICTIONS = {"epsilon": "epsilon", "v_prediction": "v"}


def _architecture(description: ModelDescription, family: str) -> str:
    if family == "sd2":
        is_v = description.scheduler_config.get("prediction_type") == "v_prediction"
        return "stable-diffusion-v2-768-v" if is_v else "stable-diffusion-v2-512"
    if family == "sd3":
        config = description.components["transformer"].config
        version = "3.5" if config.get("qk_norm") else "3"
        size = "large" if config.get("num_layers") == _LARGE_SD3_BLOCKS else "medium"
        return f"stable-diffusion-{version}-{size}"
    if family == "flux1" and description.components["transformer"].config.get("guidance_embeds"):
        return "flux-1-dev"
    if description.pipeline_class == "StableDiffusionXLImg2ImgPipeline":
        return "stable-diffusion-xl-v1-refiner"
    return _ARCHITECTURES.get(family, description.pipeline_class)


def _own_files(description: ModelDescription, left_out: tuple[str, ...]) -> SmallFiles:
    files = small_files(description)
    return {name: content for name, content in files.items() if name.split("/")[0] not in left_out}
