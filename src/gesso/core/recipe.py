"""The recipe that every picture carries: what was asked, what was decided, and how it ran.

Fields that a newer version wrote are kept, so that an older reader never destroys them.
"""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from gesso.core.merging import merged
from gesso.core.requests import HiresPass, ImageRequest, ResolvedImageRequest

SCHEMA = 1


class Kept(BaseModel):
    """Base of what is read back from files: frozen, unknown fields kept."""

    model_config = ConfigDict(frozen=True, extra="allow")


class Segment(Kept):
    """Where some rows of a call ran: `rows` rows from slot `slot` on, in a forward of `batch_rows` rows."""

    slot: int
    rows: int
    batch_rows: int


class TraceEntry(Kept):
    """One component call of one picture."""

    component: str
    method: str
    call: int
    """Number of the call within its component and method, from 0."""
    step: int | None
    """Sampling step during which it was made; `None` before the first and after the last."""
    segments: tuple[Segment, ...]
    digest: str
    """8 bytes, hexadecimal, of all output tensors."""


class Fingerprint(Kept):
    """Everything besides the request that can change bytes."""

    versions: dict[str, str]
    device: str
    """Kind and capability of the device, for example `cpu avx512` or `cuda sm_90`."""
    backend: str
    threads: int
    precision: str
    vae_precision: str
    matmul_precision: str
    attention: str
    vae_tiling: bool
    weights: str
    """Identity of the model's weights, `sha256:…`, or `pending` while it was still being computed."""
    adapters: tuple[str, ...] = ()
    embeddings: tuple[str, ...] = ()
    vaes: tuple[str, ...] = ()
    """Those that stood in for the model's own."""
    refiner: str = ""
    """Identity of the weights of the refiner, if there was one."""

    def differences(self, other: "Fingerprint") -> list[str]:
        """Lines such as `threads 2 → 1`, from this fingerprint to `other`; empty if runs can be compared."""
        mine, theirs = self.model_dump(), other.model_dump()
        mine.update({f"versions.{name}": version for name, version in mine.pop("versions").items()})
        theirs.update({f"versions.{name}": version for name, version in theirs.pop("versions").items()})
        return [
            f"{name.removeprefix('versions.')} {mine.get(name, 'absent')} → {theirs.get(name, 'absent')}"
            for name in [*mine, *(name for name in theirs if name not in mine)]
            if mine.get(name) != theirs.get(name)
        ]


class Metering(Kept):
    """What a picture cost."""

    device_seconds: float
    """Its share of the time its device was busy with batches that held its rows."""
    rows: int
    padded_rows: int
    """Rows computed for nobody to keep shapes fixed, shared among the requests of each batch."""
    forwards: int


class AdapterReport(Kept):
    """What became of every key of an adapter."""

    name: str
    sha256: str
    algorithm: str
    """`LoRA`, `LoHa`, …; several joined by `and`."""
    layers: dict[str, int]
    """Network → its layers that are changed."""
    matched_keys: int
    """Keys whose layers the model has under the very names of the adapter."""
    converted_keys: int
    """Keys whose layers the model has under other names."""
    ignored_keys: int
    ignored: dict[str, str]
    """Some of the ignored keys → why."""
    sampled: str | None = None
    """How it wanted to be sampled, of an adapter that makes a model need few steps."""

    def told(self) -> str:
        """In one line."""
        layers = " and ".join(f"{count} layers of `{network}`" for network, count in self.layers.items())
        keys = f"{self.matched_keys} keys matched, {self.converted_keys} converted, {self.ignored_keys} ignored"
        return f"{self.algorithm} on {layers}; {keys}{f'; {self.sampled}' if self.sampled else ''}"


class EmbeddingReport(Kept):
    """Where the vectors of an embedding were read."""

    name: str
    sha256: str
    word: str
    vectors: int
    """Tokens that the word takes."""
    widths: dict[str, int]
    """Text encoder → values of a vector."""
    in_prompt: int
    """Times that the word stands there."""
    in_negative_prompt: int

    def told(self) -> str:
        """In one line."""
        encoders = " and ".join(f"`{network}`" for network in self.widths)
        vectors = f"{self.vectors} vector{'s' if self.vectors != 1 else ''} for {encoders}"
        return (
            f"`{self.word}` is {vectors}; {self.in_prompt} in the prompt, {self.in_negative_prompt} in the negative "
            f"prompt"
        )


class Run(Kept):
    """How one picture came to be."""

    index: int
    """Number of the picture within its request, from 0."""
    seed: int
    created: str
    """UTC, ISO 8601."""
    fingerprint: Fingerprint
    trace: tuple[TraceEntry, ...]
    trace_checksum: str
    """Over `trace`, so that a change made to the file afterwards is noticed."""
    pixels_sha256: str
    """Of the RGB bytes before encoding."""
    metering: Metering
    warnings: tuple[str, ...] = ()
    adapters: tuple[AdapterReport, ...] = ()
    embeddings: tuple[EmbeddingReport, ...] = ()
    redone_in_float32: tuple[str, ...] = ()
    """Calls that overflowed in half precision, such as `vae.decode`."""


_TEXTS = frozenset({"prompt", "negative_prompt", "styles", "dynamic", "wildcard_seed"})
"""Fields of a request that decide what is read."""


class Recipe(Kept):
    """`{schema, asked, resolved, run}` as stored in a picture."""

    schema_: Literal[1] = Field(default=SCHEMA, alias="schema")
    asked: ImageRequest
    resolved: ResolvedImageRequest
    run: Run

    model_config = ConfigDict(frozen=True, extra="allow", populate_by_name=True)

    def to_json(self) -> str:
        """Compact JSON with the names of the schema."""
        return self.model_dump_json(by_alias=True)

    def again(self, **overrides: Any) -> ImageRequest:
        """The request that makes this picture again: what was asked, with the noise and files decided on.

        Words of other prompts than the picture's may be names of other embeddings. Adapters that the prompt named are
        adapters of the request then, and leave it with the prompt. How prompts are read is kept, but for another model,
        which may read plain text only. Prompts are taken as they were decided, with nothing left to choose; but where
        one of them or the styles are others, all are taken as they were asked for, and chosen by the same seed.

        Of a mask, a second pass and whatever else holds several values, those that are not given are the picture's.
        """
        image = self.resolved.for_image(self.run.index)
        noise: dict[str, Any] = {"seed": self.run.seed, "noise_source": image.noise_source, "count": 1}
        if image.variation_strength:
            noise["variation_seed"] = image.variation_seed
        if not {"model", "dialect"} & overrides.keys():
            noise |= {"dialect": image.dialect, "weighting": image.weighting}
        other_texts = bool(overrides.keys() & _TEXTS) or _has_texts(overrides.get("hires"))
        as_asked = bool((image.styles or image.dynamic) and other_texts)
        left = as_asked or "prompt" in overrides
        kept = [adapter for adapter in image.adapters if not (left and adapter.from_prompt)]
        if image.adapters:
            noise["adapters"] = [adapter.use().model_dump() for adapter in kept]
        embeddings = image.embeddings
        if overrides.keys() & {"prompt", "negative_prompt", "embeddings"}:
            embeddings = embeddings[: len(self.asked.embeddings)]
        else:
            noise["embeddings_by_name"] = False
        noise["embeddings"] = [embedding.model_dump() for embedding in embeddings]
        if as_asked:
            noise["wildcard_seed"] = image.wildcard_seed
        else:
            noise["prompt"] = image.prompt
            if self.asked.hires is not None and image.hires is not None:
                texts = {"prompt": image.hires.prompt, "negative_prompt": image.hires.negative_prompt}
                noise["hires"] = self.asked.hires.model_copy(update=texts)
        if not other_texts:
            noise |= {"styles": (), "wildcard_seed": None, "dynamic": False}
            noise["negative_prompt"] = image.negative_prompt or self.asked.negative_prompt
        vaes: dict[str, Any] = {} if "model" in overrides else image.vaes()
        if "vae" in overrides:  # both directions, whatever was asked of one
            vaes = {"vae_decoder": None, "vae_encoder": None}
        own = self.asked.model_dump() | noise | vaes | image.pictures()
        return ImageRequest.model_validate(merged(own, overrides))


def _has_texts(hires: Any) -> bool:
    """Whether a second pass, as it is given for a request, has a prompt of its own."""
    found = HiresPass() if hires is None else HiresPass.model_validate(hires)
    return found.prompt is not None or found.negative_prompt is not None
