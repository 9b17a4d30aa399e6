"""What was asked and what was decided: two types, both frozen.

`ImageRequest` is what a person or a program asks for; every field but the prompt may be left open.
`ResolvedImageRequest` is what will be done; nothing in it is open. A resolved request, the weights and the code
determine the pixels; the delivery fields (`priority`, `owner`, `output_format`) do not.
"""

from dataclasses import asdict
from enum import StrEnum
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints

from gesso.core.chance import Chance
from gesso.core.errors import InputError
from gesso.core.given_pictures import DATA, as_text

MAX_PROMPT_CHARACTERS = 20_000
MAX_STEPS = 10_000
MAX_SIDE_PX = 16_384
LEAST_STRENGTH = 0.01
MAX_SEED = 2**32 - 1
"""Seeds fit 32 bits, as in every other studio, so that a seed can be carried over."""

ArgumentName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]

Word = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]


class Precision(StrEnum):
    """The number format in which the networks compute."""

    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"
    FLOAT16 = "float16"


class NoiseSource(StrEnum):
    """Whose numbers the noise is made of. Both are computed on the CPU: a seed means the same on every device."""

    CPU = "cpu"
    """torch's on a CPU (mt19937)."""
    NV = "nv"
    """torch's on an NVIDIA GPU (Philox), AUTOMATIC1111's default."""
    COMFYUI = "comfyui"
    """The noise that a picture begins with is a CPU's, that of its steps a GPU's from its first draw on."""


class PromptDialect(StrEnum):
    """How brackets and other signs of a prompt are read."""

    GESSO = "gesso"
    """AUTOMATIC1111's language, strictly: a network that is not here is an error. Where nothing of it is written, the
    very text."""
    A1111 = "a1111"
    """As AUTOMATIC1111 reads it, comments and the places where chunks end included."""
    COMFYUI = "comfyui"
    """Round brackets only, and weights that replace those around them."""
    PLAIN = "plain"
    """The very text, whatever is in it."""


class Weighting(StrEnum):
    """What the weight w of a token does to its embedding z."""

    ORIGINAL = "original"
    """w z, then all of the chunk by one factor that keeps its mean: AUTOMATIC1111's own."""
    NO_NORM = "no-norm"
    """w z."""
    COMFYUI = "comfyui"
    """e + w (z - e), e the embedding of no text at the same place."""
    IGNORE = "ignore"
    """Nothing."""


class OutputFormat(StrEnum):
    """The container of a saved picture."""

    PNG = "png"
    JPEG = "jpeg"
    WEBP = "webp"


class Value(BaseModel):
    """Base of what is stored or sent: frozen, and an unknown field is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class AdapterUse(Value):
    """An adapter (a LoRA or one of its kin) in a request."""

    name: str
    """A file in the model folders, by its name without the ending; or a path."""
    weight: float = 1.0
    """Of its changes to the denoiser; negative ones turn it round."""
    text_encoder_weight: float | None = None
    """Of its changes to the text encoders; `None` is `weight`."""
    blocks: dict[str, float] = Field(default_factory=dict[str, float])
    """How path names of layers begin → a factor on their weight; the longest that fits counts, 1 where none does."""
    start: float = 0.0
    """Share of the steps after which it begins, 0 to 1."""
    stop: float = 1.0
    """Share of the steps after which it ends."""
    sha256: str | None = None
    """Of the file; another is refused. `None` takes the file as it is."""


class ResolvedAdapter(Value):
    """An adapter as it will be applied. The fields are those of `AdapterUse`, decided."""

    name: str
    """What it is found by again: its name, or its path if it was asked for by path."""
    weight: float
    text_encoder_weight: float
    blocks: dict[str, float]
    start: float
    stop: float
    sha256: str
    from_prompt: bool = False
    """It was named in the prompt."""

    def use(self) -> AdapterUse:
        """What asks for the very same again."""
        return AdapterUse(**self.model_dump(exclude={"from_prompt"}))


class EmbeddingUse(Value):
    """An embedding (a textual inversion) in a request: vectors that are read where its word stands in a prompt."""

    name: str
    """A file in the model folders, by its name without the ending; or a path."""
    word: Word | None = None
    """`None` is the token that the file itself names where that stands in a prompt, else the name of the file."""
    sha256: str | None = None
    """Of the file; another is refused. `None` takes the file as it is."""


class ResolvedEmbedding(Value):
    """An embedding as it will be read. The fields are those of `EmbeddingUse`, decided."""

    name: str
    word: Word
    sha256: str


AUTO_VAE, OWN_VAE = "auto", "none"
"""The VAE that lies beside a checkpoint under its name, else the model's own; and the model's own in any case."""


class VaeUse(Value):
    """A VAE in a request, in place of the model's own."""

    name: str
    """A VAE or a model in the model folders, by its name; a path; `auto` or `none`."""
    sha256: str | None = None
    """Of its weights; another is refused. `None` takes them as they are."""
    precision: Precision | None = None
    """Number format in which it computes; `None` is that of the model, or a larger one if it overflows in that."""


class ResolvedVae(Value):
    """A VAE that is used in place of the model's own. The fields are those of `VaeUse`, decided."""

    name: str
    """What it is found by again: its name, or its path if it was asked for by path."""
    sha256: str
    precision: Precision


class Tiling(StrEnum):
    """Along which axes a picture fits to itself."""

    X = "x"
    """The right edge to the left."""
    Y = "y"
    """The lower edge to the upper."""
    BOTH = "both"


class DynamicThresholding(Value):
    """Guidance of full strength within the range of values that a milder one gives."""

    mimic_scale: float
    """The milder guidance."""
    percentile: float = 1.0
    """Share of the values that are brought into that range whole; the rest is cut. 0 to 1."""


class PictureUse(Value):
    """A picture that a request begins with, or a mask of one."""

    source: str
    """The path of a PNG, JPEG or WebP file, or a `data:` URL that holds one in base64."""
    sha256: str | None = None
    """Of the file's bytes; another is refused. `None` takes the file as it is."""


Picture = Annotated[str | PictureUse, BeforeValidator(as_text)]
"""A path or a `data:` URL; in Python also an `os.PathLike`, or a picture of Pillow."""


class ResolvedPicture(Value):
    """A picture that was read. The fields are those of `PictureUse`, decided."""

    source: str
    """An absolute path, or `data:` where it came with the request, of which only the digest is kept."""
    sha256: str

    def use(self) -> PictureUse:
        """What asks for the very same again."""
        return PictureUse(source=self.source, sha256=self.sha256)


class Resize(StrEnum):
    """How a picture is brought to a size of other proportions."""

    CROP = "crop"
    """Keeps them; what does not fit is cut off on both sides."""
    FILL = "fill"
    """Keeps them; what is missing on both sides is filled with the rows or columns of the edge."""
    STRETCH = "stretch"


class HiresPass(Value):
    """A second pass over the picture, larger. What is `None` is as in the first, where nothing else is said."""

    scale: float | None = None
    """Of both sides; `None` without a size is 2."""
    width: int | None = None
    """Pixels, in place of a scale; one side alone keeps the proportions."""
    height: int | None = None
    upscaler: str | None = None
    """What enlarges the first picture, a name of `gesso.engine.hires.upscalers`; `None` is `latent`, or `lanczos` where
    the model's latents cannot be."""
    steps: int | None = None
    """Steps that are made, whatever the strength."""
    strength: float | None = None
    """Share of the noise that is put back; `None` is 0.7."""
    sampler: str | None = None
    schedule: str | None = None
    guidance: float | None = None
    prompt: str | None = None
    negative_prompt: str | None = None


_OF_THE_START = "sgm_noise_multiplier"
"""What is said of the first noise, not of the steps."""


class ResolvedHiresPass(Value):
    """A second pass as it will be made. The fields are those of `HiresPass`, decided."""

    width: int
    height: int
    upscaler: str
    steps: int
    planned_steps: int
    """Of the schedule whose last `steps` are made."""
    strength: float
    sampler: str
    schedule: str
    guidance: float
    prompt: str | None = None
    """`None` is that of the first pass."""
    negative_prompt: str | None = None
    chance: Chance | None = None
    """`None`, in recipes that do not say it, is that of the first pass, or with another sampler none but its own."""

    def use(self) -> HiresPass:
        """What asks for the very same again."""
        return HiresPass(**self.model_dump(exclude={"planned_steps", "chance"}))

    def chances(self, *, same_sampler: bool) -> dict[str, Any]:
        """The fields of a request that differ from those of the first pass."""
        if self.chance is not None:
            return asdict(self.chance)
        return {} if same_sampler else {name: said for name, said in asdict(Chance()).items() if name != _OF_THE_START}


class Fill(StrEnum):
    """What lies under a mask before it is painted on."""

    ORIGINAL = "original"
    BLUR = "blur"
    """The colours around it, running into each other."""
    NOISE = "noise"
    """The noise of the seed, in place of latents."""
    ZERO = "zero"
    """Latents of zero."""


class Inpaint(Value):
    """Which part of a picture may change."""

    mask: Picture
    """A path or a `data:` URL, of the size of the picture: white changes, black stays."""
    invert: bool = False
    """Black changes, white stays."""
    blur: float = 0.0
    """Pixels by which its edges are blurred (sigma of a Gaussian), to both sides."""
    fill: Fill = Fill.ORIGINAL
    only_masked: bool = False
    """What is around the mask is painted at the size of the request, and put back into the picture at its own."""
    padding: int = 32
    """Pixels around the mask that are seen then."""
    soft: bool = False
    """Its gray is how much may change (differential diffusion, arXiv 2306.00950); else it is white from one half on."""
    keep_outside: bool = True
    """Outside the mask the result is the picture, byte for byte; else what the VAE makes of it."""


class ResolvedInpaint(Value):
    """Which part of a picture will change. The fields are those of `Inpaint`, decided."""

    mask: ResolvedPicture
    invert: bool
    blur: float
    fill: Fill
    only_masked: bool
    padding: int
    soft: bool
    keep_outside: bool

    def use(self) -> Inpaint:
        """What asks for the very same again."""
        fields: dict[str, Any] = dict(self) | {"mask": self.mask.use()}
        return Inpaint.model_validate(fields)


class Outpaint(Value):
    """How many pixels are painted on beyond each side of a picture."""

    left: int = 0
    right: int = 0
    up: int = 0
    down: int = 0
    fill: Fill = Fill.BLUR


def _kept(use: str | PictureUse | None) -> str | PictureUse | None:
    source = use.source if isinstance(use, PictureUse) else use
    return DATA if source is not None and source.startswith(DATA) else use


class RefinerUse(Value):
    """A model of the same latent space that goes on with a picture for its last steps."""

    model: str
    """Found like `ImageRequest.model`; it need not be one that makes pictures from text."""
    at: float = 0.8
    """Share of the steps after which it goes on, 0 to 1."""


class ResolvedRefiner(Value):
    """A refiner as it will be used. The fields are those of `RefinerUse`, decided."""

    model: str
    """What it is found by again: its name, or its path if it was asked for by path."""
    at: float

    def use(self) -> RefinerUse:
        """What asks for the very same again."""
        return RefinerUse(**self.model_dump())


class ImageRequest(Value):
    """What was asked. A field that is `None` is decided by the model, the machine and the settings."""

    prompt: str = ""
    negative_prompt: str | None = None
    dialect: PromptDialect | None = None
    """How the prompts are read; `None` is `gesso`, and `plain` where the pipeline reads them or the prompt is JSON."""
    styles: tuple[str, ...] = ()
    """Texts that go round the prompts, by name, one after the other; `gesso prompt styles` shows them."""
    dynamic: bool | None = None
    """Whether each picture chooses of `{a|b}` and `__name__` in its prompts; `None`: in the dialect `gesso` only."""
    wildcard_seed: int | None = None
    """Picture `i` chooses by `wildcard_seed + i`; `None` is its own seed."""
    weighting: Weighting | None = None
    """What weights in the prompts do; `None` is `comfyui` in that dialect and `original` in the others."""
    model: str | None = None
    """A name that `gesso models list` shows, a folder, a single file, or a hub id that is already on this machine."""
    parts: dict[ArgumentName, str] = Field(default_factory=dict)
    """Parts of the pipeline that come from elsewhere: `{"vae": "my-vae.safetensors"}`; files, or folders of parts."""
    vae: str | VaeUse | None = None
    """Of both directions, where the two fields that follow say nothing; `None` is `auto`."""
    vae_decoder: str | VaeUse | None = None
    """What makes pictures of latents."""
    vae_encoder: str | VaeUse | None = None
    """What makes latents of pictures."""
    image: Picture | None = None
    """What the picture begins with: a path or a `data:` URL. `None` begins with noise alone."""
    strength: float | None = None
    """How much of `image` may change: the share of the steps that is made, above 0 to 1."""
    resize: Resize | None = None
    """How `image` is brought to the size of the request; `None` is `crop`."""
    inpaint: Inpaint | None = None
    outpaint: Outpaint | None = None
    color_correction: bool = False
    """Bring the colours of the result to those of `image`."""
    width: int | None = None
    """Pixels; `None` is that of `image`, rounded to what the model makes, or the model's own."""
    height: int | None = None
    """Pixels, likewise."""
    steps: int | None = None
    sampler: str | None = None
    """A name or alias that `gesso samplers` shows; `None` is the scheduler that the model came with."""
    schedule: str | None = None
    guidance: float | None = None
    """Classifier-free guidance scale w in `uncond + w (cond - uncond)`; 1 is none (Ho & Salimans 2022)."""
    guidance_rescale: float | None = None
    """φ of Lin et al. 2023, section 3.4; 0 is none."""
    guidance_start: float | None = None
    """Share of the steps after which guidance begins, 0 to 1; `None` is 0."""
    guidance_stop: float | None = None
    """Share of the steps after which it ends; `None` is 1."""
    dynamic_thresholding: DynamicThresholding | None = None
    eta: float | None = None
    """Share of noise that each step draws anew, of samplers that leave it open; 0 draws none."""
    s_churn: float | None = None
    """S_churn of Karras et al. 2022 (arXiv 2206.00364), algorithm 2: noise added before each step."""
    s_tmin: float | None = None
    """Lowest noise level at which it is added."""
    s_tmax: float | None = None
    """Highest noise level at which it is added; 0 is no limit."""
    s_noise: float | None = None
    """Strength of the noise that is drawn on the way; 1 is as derived."""
    sgm_noise_multiplier: bool | None = None
    """Begin at noise times sqrt(1 + sigma²), as ComfyUI does, and not at noise times sigma."""
    seed: int | None = None
    """Picture `i` of the request is made from `seed + i`; with a variation, from `seed` and `variation_seed + i`."""
    noise_source: NoiseSource | None = None
    eta_seed_offset: int | None = None
    """The noise that a stochastic sampler adds at its steps comes from `seed + eta_seed_offset`; AUTOMATIC1111's ENSD.
    """
    variation_seed: int | None = None
    variation_strength: float | None = None
    """How far the first noise lies on the arc from that of `seed` (0) to that of `variation_seed` (1)."""
    tiling: Tiling | None = None
    """A texture without seams; `None` has edges."""
    hires: HiresPass | None = None
    """Once more, larger."""
    refiner: RefinerUse | None = None
    """With a second pass, it is that which it finishes."""
    count: int = 1
    clip_skip: int | None = None
    """1 is the layer that the family normally reads, 2 the layer before it."""
    device: str | None = None
    precision: Precision | None = None
    exact: bool | None = None
    """Bytes that do not depend on what else runs at the time (fixed batch shapes; slower)."""
    arguments: dict[ArgumentName, Any] = Field(default_factory=dict)
    """Further arguments of the pipeline's own `__call__`; one that it does not take is refused."""
    adapters: tuple[AdapterUse, ...] = ()
    """Applied together, in this order."""
    embeddings: tuple[EmbeddingUse, ...] = ()
    embeddings_by_name: bool = True
    """Words of the prompts that are names of files in a folder `embeddings` stand for these, where they fit the model.
    """
    strict: bool = False
    """What an adapter or embedding holds or is asked for and has no effect is an error instead of a warning."""
    output_format: OutputFormat | None = None
    priority: int = 0
    """Higher goes first, at the next step of what runs. -100 to 100."""
    owner: str = "local"
    deadline_seconds: float | None = None
    """Give up this long after the request was accepted."""

    def kept(self) -> "ImageRequest":
        """The request as a recipe keeps it: pictures that came with it are in it no more."""
        inpaint = self.inpaint
        if inpaint is not None:
            inpaint = inpaint.model_copy(update={"mask": _kept(inpaint.mask)})
        return self.model_copy(update={"image": _kept(self.image), "inpaint": inpaint})


class PictureWords(Value):
    """What one picture of a request reads, where each reads a text of its own. The fields are the request's."""

    prompt: str
    negative_prompt: str
    adapters: tuple[ResolvedAdapter, ...]
    embeddings: tuple[ResolvedEmbedding, ...]
    missing: tuple[str, ...]
    hires: ResolvedHiresPass | None = None
    """With the prompts of its second pass."""


class ResolvedImageRequest(Value):
    """What was decided. Made by `gesso.engine.resolve` as a pure function of request, model facts and settings."""

    prompt: str
    """The text that is read, styles and choices made; of the first picture, where there are `words`."""
    negative_prompt: str
    model: str
    family: str
    """Name of the first-class family, or `other`."""
    pipeline: str
    """Class name of the diffusers pipeline."""
    width: int
    height: int
    steps: int
    sampler: str
    """Canonical name in the table of samplers, or `default` for the model's own scheduler."""
    schedule: str
    guidance: float
    guidance_rescale: float
    eta: float | None = None
    """`None` where the sampler takes none."""
    s_churn: float = 0.0
    s_tmin: float = 0.0
    s_tmax: float = 0.0
    """0 is no limit."""
    s_noise: float = 1.0
    sgm_noise_multiplier: bool = False
    seed: int
    count: int
    clip_skip: int
    device: str
    precision: Precision
    vae_precision: Precision
    """Of the model's own; differs from `precision` where the VAE would overflow."""
    exact: bool
    arguments: dict[ArgumentName, Any]
    output_format: OutputFormat
    priority: int
    owner: str
    # The defaults are what a recipe means that was written before there was a choice.
    noise_source: NoiseSource = NoiseSource.CPU
    eta_seed_offset: int = 0
    variation_seed: int = 0
    """Means nothing where `variation_strength` is 0."""
    variation_strength: float = 0.0
    parts: dict[ArgumentName, str] = Field(default_factory=dict)
    vae_decoder: ResolvedVae | None = None
    """`None` is the model's own."""
    vae_encoder: ResolvedVae | None = None
    image: ResolvedPicture | None = None
    strength: float = 1.0
    """Means nothing without `image`."""
    resize: Resize = Resize.CROP
    inpaint: ResolvedInpaint | None = None
    outpaint: Outpaint | None = None
    color_correction: bool = False
    adapters: tuple[ResolvedAdapter, ...] = ()
    embeddings: tuple[ResolvedEmbedding, ...] = ()
    """Those that were asked for, then those whose names stand in the prompts."""
    strict: bool = False
    dialect: PromptDialect = PromptDialect.PLAIN
    weighting: Weighting = Weighting.ORIGINAL
    guidance_start: float = 0.0
    guidance_stop: float = 1.0
    dynamic_thresholding: DynamicThresholding | None = None
    tiling: Tiling | None = None
    hires: ResolvedHiresPass | None = None
    refiner: ResolvedRefiner | None = None
    missing: tuple[str, ...] = ()
    """Networks that the prompt asked for and that are left out: AUTOMATIC1111 goes on without them."""
    styles: tuple[str, ...] = ()
    """Whose texts are in the prompts."""
    dynamic: bool = False
    """Whether something in the prompts was chosen."""
    wildcard_seed: int | None = None
    """By which that was; `None` is the picture's own seed."""
    words: tuple[PictureWords, ...] = ()
    """Of each picture, where not all read the same."""

    def vaes(self) -> dict[str, Any]:
        """The fields of a request that asks for exactly these VAEs."""
        chosen = {"vae_decoder": self.vae_decoder, "vae_encoder": self.vae_encoder}
        return {"vae": None} | {name: OWN_VAE if vae is None else vae.model_dump() for name, vae in chosen.items()}

    def read_by(self, index: int) -> "ResolvedImageRequest":
        """This request with the texts of picture `index` for those of all.

        Raises:
            InputError: it has texts, but none for that picture: somebody changed a recipe.
        """
        if not self.words:
            return self
        if not 0 <= index < len(self.words):
            raise InputError(
                f"Picture {index} shall be made; found the texts of {len(self.words)} pictures, from 0 on",
                hint="the recipe was changed: take the file as it was",
            )
        words = self.words[index]
        return self.model_copy(update={name: getattr(words, name) for name in words.model_fields_set} | {"words": ()})

    def second(self) -> "ResolvedImageRequest":
        """The second pass as a request of its own: what the first one made, larger, is its picture."""
        hires = self.hires
        assert hires is not None
        names = ("width", "height", "strength", "sampler", "schedule", "guidance")
        texts = {"prompt": hires.prompt, "negative_prompt": hires.negative_prompt}
        return self.model_copy(
            update={name: getattr(hires, name) for name in names}
            | {name: text for name, text in texts.items() if text is not None}
            | hires.chances(same_sampler=hires.sampler == self.sampler)
            | {"steps": hires.planned_steps, "hires": None}
        )

    def largest(self) -> "ResolvedImageRequest":
        """The pass that needs the most memory."""
        return self if self.hires is None else self.second()

    def pictures(self) -> dict[str, Any]:
        """The fields of a request that asks for exactly these pictures to begin with."""
        inpaint = self.inpaint.use().model_dump() if self.inpaint is not None else None
        return {} if self.image is None else {"image": self.image.use().model_dump(), "inpaint": inpaint}

    def for_image(self, index: int) -> "ResolvedImageRequest":
        """The request that makes only picture `index` of this one."""
        counted = ["variation_seed" if self.variation_strength else "seed"]
        counted += [] if self.wildcard_seed is None else ["wildcard_seed"]
        seeds = {name: (getattr(self, name) + index) % (MAX_SEED + 1) for name in counted}
        return self.read_by(index).model_copy(update=seeds | {"count": 1})


DELIVERY_FIELDS = frozenset({"priority", "owner", "output_format", "deadline_seconds"})
"""Fields of a request that do not determine pixels."""
