"""The options of `gesso generate`, each as a type that its parameter is declared with."""

from pathlib import Path
from typing import Annotated, Any

import typer

_PICTURE = "The picture"
_INPUT = "What it begins with"
_SAMPLING = "How it is sampled"
_RUNNING = "How it runs"
_DELIVERY = "Where it goes"


def _option(help_text: str, *names: str, panel: str, metavar: str | None = None) -> Any:
    # Whether a file can be read is found out by who reads it, and then told in our words.
    return typer.Option(
        *names, help=help_text, metavar=metavar, rich_help_panel=panel, show_default=False, readable=False
    )


Prompt = Annotated[
    list[str] | None,
    typer.Argument(metavar="PROMPT", help="What to paint; words are joined.", show_default=False),
]

Model = Annotated[
    str | None,
    _option("A name from `gesso models list`, a folder, a file, or a hub id.", panel=_PICTURE, metavar="NAME"),
]
Parts = Annotated[
    list[str] | None,
    _option("A part of the model from elsewhere; may be repeated.", "--part", panel=_PICTURE, metavar="PART=FILE"),
]
Vae = Annotated[
    str | None,
    _option("Its VAE: a name, a file, a folder; auto or none.", "--vae", panel=_PICTURE, metavar="NAME"),
]
VaeDecoder = Annotated[str | None, _option("The same, of its decoder alone.", panel=_PICTURE, metavar="NAME")]
VaeEncoder = Annotated[str | None, _option("The same, of its encoder alone.", panel=_PICTURE, metavar="NAME")]
Yes = Annotated[bool, _option("Fetch a model that is not here without asking.", "--yes", "-y", panel=_PICTURE)]
Negative = Annotated[str | None, _option("What not to paint.", panel=_PICTURE, metavar="TEXT")]
Dialect = Annotated[
    str | None,
    _option("How prompts are read.", panel=_PICTURE, metavar="gesso|a1111|comfyui|plain"),
]
Weighting = Annotated[
    str | None,
    _option("What weights in prompts do.", panel=_PICTURE, metavar="original|no-norm|comfyui|ignore"),
]
Style = Annotated[
    list[str] | None,
    _option("A style to put round the prompts; may be repeated.", "--style", panel=_PICTURE, metavar="NAME"),
]
Dynamic = Annotated[
    bool | None,
    _option("Choose of {a|b} and __name__ in prompts.", "--dynamic/--no-dynamic", panel=_PICTURE),
]
WildcardSeed = Annotated[
    int | None, _option("By which that is chosen; else by the picture's seed.", panel=_PICTURE, metavar="N")
]
Size = Annotated[str | None, _option("Pixels, for example 512x768.", panel=_PICTURE, metavar="WxH")]
Seed = Annotated[int | None, _option("Where chance starts; drawn if left out.", panel=_PICTURE, metavar="N")]
Count = Annotated[int | None, _option("How many pictures, from seeds that follow.", panel=_PICTURE, metavar="N")]
FromImage = Annotated[
    Path | None,
    _option("Once more as this picture was made; other options override.", "--from", panel=_PICTURE, metavar="IMAGE"),
]

Image = Annotated[str | None, _option("A picture instead of noise alone.", panel=_INPUT, metavar="IMAGE")]
Strength = Annotated[float | None, _option("How much of it may change, above 0 to 1.", panel=_INPUT, metavar="SHARE")]
Resize = Annotated[
    str | None, _option("How it is brought to another shape.", panel=_INPUT, metavar="crop|fill|stretch")
]
Mask = Annotated[
    str | None, _option("A picture of the same size: only what is white in it changes.", panel=_INPUT, metavar="IMAGE")
]
InvertMask = Annotated[
    bool | None, _option("Only what is black in it changes.", "--invert-mask/--no-invert-mask", panel=_INPUT)
]
MaskBlur = Annotated[float | None, _option("How far its edges are blurred.", panel=_INPUT, metavar="PX")]
SoftMask = Annotated[
    bool | None, _option("Its gray is how much may change.", "--soft-mask/--no-soft-mask", panel=_INPUT)
]
OnlyMasked = Annotated[
    bool | None,
    _option("Paint what is around it at full size, and put it back.", "--only-masked/--no-only-masked", panel=_INPUT),
]
Padding = Annotated[int | None, _option("How much around it is seen then.", panel=_INPUT, metavar="PX")]
Fill = Annotated[str | None, _option("What lies under it at first.", panel=_INPUT, metavar="original|blur|noise|zero")]
KeepOutside = Annotated[
    bool | None, _option("Outside it every byte stays.", "--keep-outside/--no-keep-outside", panel=_INPUT)
]
Left = Annotated[int | None, _option("Paint on beyond the left side.", panel=_INPUT, metavar="PX")]
Right = Annotated[int | None, _option("Beyond the right side.", panel=_INPUT, metavar="PX")]
Up = Annotated[int | None, _option("Beyond the upper side.", panel=_INPUT, metavar="PX")]
Down = Annotated[int | None, _option("Beyond the lower side.", panel=_INPUT, metavar="PX")]
ColorCorrection = Annotated[
    bool | None,
    _option("Bring the colours to those of the picture.", "--color-correction/--no-color-correction", panel=_INPUT),
]

Eta = Annotated[float | None, _option("Noise drawn anew at each step, 0 to 1.", panel=_SAMPLING, metavar="SHARE")]
SChurn = Annotated[float | None, _option("Noise added before each step.", panel=_SAMPLING, metavar="N")]
STmin = Annotated[float | None, _option("Lowest noise level with churn.", panel=_SAMPLING, metavar="SIGMA")]
STmax = Annotated[float | None, _option("Highest noise level with churn; 0: all.", panel=_SAMPLING, metavar="SIGMA")]
SNoise = Annotated[float | None, _option("Strength of noise drawn at the steps.", panel=_SAMPLING, metavar="FACTOR")]
SgmNoiseMultiplier = Annotated[
    bool | None,
    _option(
        "Begin at noise times sqrt(1 + sigma²), as ComfyUI does.",
        "--sgm-noise-multiplier/--no-sgm-noise-multiplier",
        panel=_SAMPLING,
    ),
]
NoiseSource = Annotated[
    str | None, _option("Whose numbers the noise is: a CPU's or a GPU's.", panel=_SAMPLING, metavar="cpu|nv|comfyui")
]
EtaSeedOffset = Annotated[
    int | None, _option("Added to the seed for noise at the steps; ENSD.", panel=_SAMPLING, metavar="N")
]
VariationSeed = Annotated[int | None, _option("Seed of the picture to go towards.", panel=_SAMPLING, metavar="N")]
VariationStrength = Annotated[float | None, _option("How far to go there, 0 to 1.", panel=_SAMPLING, metavar="SHARE")]

Steps = Annotated[int | None, _option("Sampling steps.", panel=_SAMPLING, metavar="N")]
Sampler = Annotated[str | None, _option("A name from `gesso samplers`.", panel=_SAMPLING, metavar="NAME")]
Schedule = Annotated[str | None, _option("One of the sampler's schedules.", panel=_SAMPLING, metavar="NAME")]
Guidance = Annotated[
    float | None, _option("How strictly to follow the prompt; 1 is none.", panel=_SAMPLING, metavar="SCALE")
]
GuidanceRescale = Annotated[
    float | None, _option("Against overexposure by guidance, 0 to 1.", panel=_SAMPLING, metavar="SHARE")
]
_SECOND = "The second pass"


def _without(what: str, option: str, *, panel: str) -> Any:
    return _option(f"Without {what} of the picture of `--from`.", option, panel=panel)


NoStyle = Annotated[bool, _without("the styles", "--no-style", panel=_PICTURE)]
NoTiling = Annotated[bool, _without("the tiling", "--no-tiling", panel=_PICTURE)]
NoMask = Annotated[bool, _without("the mask", "--no-mask", panel=_INPUT)]
NoOutpaint = Annotated[bool, _without("what is added to the sides", "--no-outpaint", panel=_INPUT)]
NoHires = Annotated[bool, _without("the second pass", "--no-hires", panel=_SECOND)]
NoRefiner = Annotated[bool, _without("the refiner", "--no-refiner", panel=_SECOND)]
Hires = Annotated[
    str | None, _option("Paint once more, so many times larger.", "--hires", panel=_SECOND, metavar="SCALE|WxH")
]
HiresUpscaler = Annotated[
    str | None, _option("What enlarges the first picture.", panel=_SECOND, metavar="latent|lanczos|…")
]
HiresSteps = Annotated[int | None, _option("Steps that are made.", panel=_SECOND, metavar="N")]
HiresStrength = Annotated[float | None, _option("How much may change, 0 to 1.", panel=_SECOND, metavar="SHARE")]
HiresSampler = Annotated[str | None, _option("Its sampler.", panel=_SECOND, metavar="NAME")]
HiresSchedule = Annotated[str | None, _option("Its schedule.", panel=_SECOND, metavar="NAME")]
HiresGuidance = Annotated[float | None, _option("Its guidance.", panel=_SECOND, metavar="SCALE")]
HiresPrompt = Annotated[str | None, _option("Its prompt.", panel=_SECOND, metavar="TEXT")]
HiresNegative = Annotated[str | None, _option("Its negative prompt.", panel=_SECOND, metavar="TEXT")]
Refiner = Annotated[
    str | None, _option("A model that goes on for the last steps.", "--refiner", panel=_SECOND, metavar="NAME")
]
RefinerAt = Annotated[
    float | None, _option("Share of the steps after which it does; usually 0.8.", panel=_SECOND, metavar="SHARE")
]
Tiling = Annotated[
    str | None, _option("A texture whose edges fit, along an axis or both.", panel=_PICTURE, metavar="x|y|both")
]
GuidanceStart = Annotated[
    float | None, _option("Share of the steps after which guidance begins.", panel=_SAMPLING, metavar="SHARE")
]
GuidanceStop = Annotated[
    float | None, _option("Share of the steps after which it ends.", panel=_SAMPLING, metavar="SHARE")
]
DynamicThresholding = Annotated[
    str | None,
    _option("Values of guidance no larger than at a milder one.", panel=_SAMPLING, metavar="MIMIC_SCALE[:PERCENTILE]"),
]
ClipSkip = Annotated[
    int | None, _option("Text encoder layer to read, from the end; 1 is the last.", panel=_SAMPLING, metavar="N")
]
Lora = Annotated[
    list[str] | None,
    _option(
        "A LoRA or one of its kin; may be repeated.",
        "--lora",
        panel=_PICTURE,
        metavar="NAME[:WEIGHT[:TEXT_WEIGHT]][@FROM-TO][,BLOCK=FACTOR]",
    ),
]
Embedding = Annotated[
    list[str] | None,
    _option(
        "Vectors to read where the word stands in a prompt; may be repeated.", panel=_PICTURE, metavar="NAME[=WORD]"
    ),
]
EmbeddingsByName = Annotated[
    bool | None,
    _option(
        "Names of files in a folder `embeddings` stand for these.",
        "--embeddings-by-name/--no-embeddings-by-name",
        panel=_PICTURE,
    ),
]
Strict = Annotated[
    bool | None,
    _option("Fail if something of an adapter or embedding has no effect.", "--strict/--no-strict", panel=_PICTURE),
]
Arguments = Annotated[
    list[str] | None,
    _option("An argument of the pipeline itself; may be repeated.", "--set", panel=_SAMPLING, metavar="KEY=VALUE"),
]

Device = Annotated[str | None, _option("For example cuda:0; by itself the best.", panel=_RUNNING, metavar="NAME")]
Precision = Annotated[
    str | None,
    _option("float32, bfloat16 or float16; by itself the best.", panel=_RUNNING, metavar="FORMAT"),
]
Exact = Annotated[
    bool | None,
    _option("Bytes that do not depend on what else runs; slower.", "--exact/--no-exact", panel=_RUNNING),
]
Priority = Annotated[int | None, _option("-100 to 100; higher goes first.", panel=_RUNNING, metavar="N")]
Owner = Annotated[str | None, _option("Who asks; kept with the costs.", panel=_RUNNING, metavar="NAME")]
Deadline = Annotated[float | None, _option("Give up after so long.", panel=_RUNNING, metavar="SECONDS")]
Journal = Annotated[
    Path | None,
    _option("Keep finished work here; the same command goes on from it.", panel=_RUNNING, metavar="FOLDER"),
]

Out = Annotated[
    Path | None, _option("A folder, or a file with the suffix of a picture.", panel=_DELIVERY, metavar="PATH")
]
Format = Annotated[
    str | None,
    _option("Of the files; by itself as `--out` ends.", "--format", panel=_DELIVERY, metavar="png|jpeg|webp"),
]
