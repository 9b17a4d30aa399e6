"""What a denoiser predicts: as the file says, else as its keys show, else as is usual for its family."""

from collections.abc import Mapping

from gesso.models.recognition.kinds import Conclusion
from gesso.models.recognition.marks import Tensors, shown

EPSILON, V_PREDICTION, FLOW, EDM = "epsilon", "v_prediction", "flow", "edm"

_KEYS = {
    "edm_vpred.sigma_max": V_PREDICTION,
    "edm_mean": EDM,
    "v_pred": V_PREDICTION,
}
"""Tensors that some put into a checkpoint to say it."""

_METADATA = {
    "epsilon": EPSILON,
    "eps": EPSILON,
    "v": V_PREDICTION,
    "v_prediction": V_PREDICTION,
    "v-prediction": V_PREDICTION,
    "vpred": V_PREDICTION,
    "flow": FLOW,
    "rectified flow": FLOW,
    "edm": EDM,
}
_ARCHITECTURES = {"stable-diffusion-v2-512": EPSILON, "stable-diffusion-v2-768-v": V_PREDICTION}

_FLOW_FAMILIES = frozenset(
    {
        "sd3",
        "flux1",
        "flux2",
        "flux2-klein",
        "chroma",
        "z-image",
        "lumina2",
        "qwen-image",
        "auraflow",
        "sana",
        "hidream",
        "wan",
        "ltx-video",
        "hunyuan-video",
        "mochi",
    }
)
"""Families of which none is anything else."""
_USUAL = {
    "sd1": EPSILON,
    "sdxl": EPSILON,
    "sdxl-refiner": EPSILON,
    "kolors": EPSILON,
    "pixart": EPSILON,
    "hunyuan-dit": V_PREDICTION,
}
_BASE_SD2_STEPS = "875000"
"""Steps after which SD 2.0 base (512 px, epsilon) was published, as its checkpoint says."""


def prediction_of(
    families: tuple[str, ...], tensors: Tensors, metadata: Mapping[str, str], *, task: str | None, adapter: bool
) -> Conclusion | None:
    """What the denoiser of these families predicts, or an adapter's was trained on.

    Args:
        task: of the denoiser, if it does not make pictures from text.
        adapter: what it changes says nothing of it; only metadata and the family do.
    """
    said = metadata.get("modelspec.prediction_type", "").strip().lower()
    if said in _METADATA:
        return Conclusion(value=_METADATA[said], evidence=f"`modelspec.prediction_type` is `{said}`")
    architecture = metadata.get("modelspec.architecture", "").split("/")[0].strip().lower()
    if architecture in _ARCHITECTURES:
        return Conclusion(value=_ARCHITECTURES[architecture], evidence=f"`modelspec.architecture` is `{architecture}`")
    if metadata.get("ss_v_parameterization", "").lower() == "true":
        return Conclusion(value=V_PREDICTION, evidence="`ss_v_parameterization` is `True`")
    for key, prediction in _KEYS.items():
        if key in tensors:
            return Conclusion(value=prediction, evidence=shown(key))
    flow = next((family for family in families if family in _FLOW_FAMILIES), None)
    if flow is not None:
        return Conclusion(value=FLOW, evidence=f"every `{flow}` is a rectified flow")
    if families == ("sd2",) and not adapter:
        return _of_sd2(metadata, task)
    usual = next((family for family in families if family in _USUAL), None)
    if usual is None or adapter:
        return None
    return Conclusion(value=_USUAL[usual], evidence=f"usual for `{usual}`; nothing in the file says it", guess=True)


def _of_sd2(metadata: Mapping[str, str], task: str | None) -> Conclusion:
    if metadata.get("global_step") == _BASE_SD2_STEPS:
        return Conclusion(value=EPSILON, evidence=f"`global_step` is {_BASE_SD2_STEPS}, as in SD 2.0 base", guess=True)
    if task is not None:
        return Conclusion(
            value=EPSILON, evidence=f"usual for `sd2` and {task}; nothing in the file says it", guess=True
        )
    return Conclusion(
        value=V_PREDICTION,
        evidence="usual for `sd2` of 768 px; those of 512 px are epsilon, and nothing in the file tells them apart",
        guess=True,
    )
