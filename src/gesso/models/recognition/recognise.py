"""From the header of a weights file to what it is: one question after the other, the special ones first."""

from collections.abc import Callable
from dataclasses import replace

from gesso.models.headers.base import FileFormat, WeightsHeader
from gesso.models.recognition.adapter_families import family_of
from gesso.models.recognition.adapter_keys import AdapterKeys, read_adapter_keys
from gesso.models.recognition.autoencoders import TINY_VAES, VAES
from gesso.models.recognition.controls import BESIDE, T2I_ADAPTERS, UPSCALERS
from gesso.models.recognition.embeddings import hypernetwork, textual_inversion
from gesso.models.recognition.encoders import IMAGE_ENCODERS, IN_CHECKPOINT, TEXT_ENCODERS
from gesso.models.recognition.facts import family_said
from gesso.models.recognition.kinds import Conclusion, Kind, Recognition
from gesso.models.recognition.marks import Match, Tensors, find, shown
from gesso.models.recognition.prediction import prediction_of
from gesso.models.recognition.transformers import TRANSFORMERS
from gesso.models.recognition.unets import UNETS

_SHOWN_KEYS = 5
_ADAPTER_SHARE = 0.5
"""Of the keys, at least this many are an adapter's: a checkpoint may have a key that looks like one."""


def recognise(header: WeightsHeader) -> Recognition:
    """Say what the file is. A file that nothing fits is `Kind.UNKNOWN`, with its first keys as evidence."""
    questions: tuple[Callable[[WeightsHeader], Recognition | None], ...] = (
        lambda asked: textual_inversion(asked.tensors),
        lambda asked: hypernetwork(asked.tensors),
        _beside,
        _networks,
        _adapter,
        _single,
    )
    found = next((answer for question in questions if (answer := question(header)) is not None), None)
    return _with_prediction(_with_family_said(found or _unknown(header), header), header)


def _beside(header: WeightsHeader) -> Recognition | None:
    """ControlNets, IP-Adapters and motion modules."""
    match = find(BESIDE, header.tensors)
    if match is None:
        return None
    whole = match.signature.kind is Kind.CONTROLNET and find(UNETS, header.tensors, ("model.diffusion_model.",))
    notes = ("a checkpoint is in the same file",) if whole else ()
    return _of_match(match, header.tensors, notes=notes)


def _single(header: WeightsHeader) -> Recognition | None:
    """Files that hold one network that is part of no checkpoint."""
    match = find((*T2I_ADAPTERS, *UPSCALERS, *TINY_VAES, *IMAGE_ENCODERS), header.tensors)
    return _of_match(match, header.tensors) if match is not None else None


def _networks(header: WeightsHeader) -> Recognition | None:
    """Denoiser, VAE and text encoders: a checkpoint, or one of them."""
    tensors = header.tensors
    denoiser = find((*TRANSFORMERS, *UNETS), tensors)
    vae = find(VAES, tensors)
    texts = _text_encoders(tensors)
    parts = [match for match in (denoiser, vae, *texts) if match is not None]
    if not parts:
        return None
    if len(parts) == 1:
        return _of_match(parts[0], tensors)
    held = tuple(_part(match) for match in parts)
    if denoiser is None:
        kind = Kind.TEXT_ENCODER if vae is None else Kind.VAE
        return Recognition(
            kind=Conclusion(value=kind, evidence=held[0].evidence),
            parts=held,
            notes=("several networks are in the file, but no denoiser",),
        )
    main = _of_match(denoiser, tensors)
    evidence = f"{main.kind.evidence} and {held[1].evidence}"
    return replace(main, kind=Conclusion(value=Kind.CHECKPOINT, evidence=evidence), parts=held)


def _text_encoders(tensors: Tensors) -> list[Match]:
    prefixes = dict.fromkeys(found[0] for key in tensors if (found := IN_CHECKPOINT.match(key)) is not None)
    matches = [find(TEXT_ENCODERS, tensors, (prefix,)) for prefix in ("", *prefixes)]
    return [match for match in matches if match is not None]


def _part(match: Match) -> Conclusion:
    kind, network = match.signature.kind, match.signature.network
    return Conclusion(value=f"{kind} ({network})" if network else kind, evidence=match.evidence[0])


def _of_match(match: Match, tensors: Tensors, *, notes: tuple[str, ...] = ()) -> Recognition:
    signature, evidence = match.signature, ", ".join(match.evidence)

    def concluded(value: str | None) -> Conclusion | None:
        return Conclusion(value=value, evidence=evidence, guess=signature.guess) if value else None

    return Recognition(
        kind=Conclusion(value=signature.kind, evidence=evidence, guess=signature.guess),
        network=concluded(signature.network),
        family=concluded(" or ".join(signature.families)),
        families=signature.families,
        variant=concluded(signature.variant),
        layout=Conclusion(value=signature.layout, evidence=match.evidence[0]),
        task=_task(match, tensors),
        notes=(*notes, *([signature.note] if signature.note else [])),
    )


def _task(match: Match, tensors: Tensors) -> Conclusion | None:
    """The task that the number of input channels tells."""
    key = match.prefix + (match.signature.input_key or "")
    tensor = tensors.get(key)
    if not match.signature.input_key or tensor is None or len(tensor.shape) < 2:
        return None
    task = match.signature.tasks.get(tensor.shape[1])
    return Conclusion(value=task, evidence=f"{shown(key, tensor)}: {tensor.shape[1]} input channels") if task else None


def _adapter(header: WeightsHeader) -> Recognition | None:
    keys = read_adapter_keys(header.tensors)
    if keys is None or keys.matched < _ADAPTER_SHARE * len(header.tensors):
        return None
    fit = family_of(keys.layers.values())
    algorithm = _algorithm(keys)
    return Recognition(
        kind=Conclusion(value=Kind.LORA, evidence=algorithm.evidence),
        family=fit[1] if fit else None,
        families=fit[0].families if fit else (),
        variant=Conclusion(value=fit[0].variant, evidence=fit[1].evidence) if fit and fit[0].variant else None,
        layout=Conclusion(value=keys.layout, evidence=algorithm.evidence),
        algorithm=algorithm,
        ranks=tuple(sorted({rank for layer in keys.layers.values() if (rank := layer.rank) is not None})),
        notes=(f"{len(keys.layers)} layers are changed",),
    )


def _algorithm(keys: AdapterKeys) -> Conclusion:
    """DoRA is a LoRA with a magnitude beside it, and is named alone; others may be mixed in a file."""
    found = dict(keys.algorithms)
    if "DoRA" in found:
        found.pop("LoRA", None)
    return Conclusion(value=" and ".join(found), evidence=", ".join(shown(key) for key in found.values()))


def _unknown(header: WeightsHeader) -> Recognition:
    keys = [shown(key, tensor) for key, tensor in list(header.tensors.items())[:_SHOWN_KEYS]]
    evidence = f"nothing that is known fits its keys: {', '.join(keys)}" if keys else "it has no tensors"
    return Recognition(kind=Conclusion(value=Kind.UNKNOWN, evidence=evidence))


def _with_family_said(recognition: Recognition, header: WeightsHeader) -> Recognition:
    """What the metadata says counts where the structure leaves it open."""
    said = family_said(header.metadata)
    architecture = header.metadata.get("general.architecture")
    if header.format is FileFormat.GGUF and architecture and recognition.kind.value == Kind.TEXT_ENCODER:
        named = Conclusion(value=architecture[:80], evidence=f"`general.architecture` is `{architecture[:80]}`")
        recognition = replace(recognition, network=named)
    if said is None or said.value in recognition.families[:1]:
        return recognition
    family = recognition.family
    if family is None or family.guess or said.value in recognition.families:
        return replace(recognition, family=said, families=(said.value,))
    return replace(recognition, notes=(*recognition.notes, f"its metadata calls it `{said.value}`: {said.evidence}"))


_PREDICTS = frozenset({Kind.CHECKPOINT, Kind.DENOISER, Kind.LORA})


def _with_prediction(recognition: Recognition, header: WeightsHeader) -> Recognition:
    if recognition.kind.value not in _PREDICTS:
        return recognition
    prediction = prediction_of(
        recognition.families,
        header.tensors,
        header.metadata,
        task=recognition.task.value if recognition.task else None,
        adapter=recognition.kind.value == Kind.LORA,
    )
    return replace(recognition, prediction=prediction)
