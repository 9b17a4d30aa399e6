"""`gesso generate PROMPT...`: from words to pictures on the disk."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from gesso.cli import options
from gesso.cli.destination import check_writable, checked_format
from gesso.cli.fetching import Fetch, with_models_here
from gesso.cli.folders import is_folder, refuse_for_folders, run_folder
from gesso.cli.input_fields import inpaint_fields, outpaint_fields
from gesso.cli.invocation import adapters, embeddings, pairs, parts_from, settings_of
from gesso.cli.leaving_out import left_out
from gesso.cli.output import AsJson, print_json, print_warning
from gesso.cli.passes import hires_pass, refiner_use, thresholding
from gesso.cli.pull import fetch_missing
from gesso.cli.show import check_picture
from gesso.cli.size import parsed_size
from gesso.cli.sources import refuse_empty, refuse_to_replace, sources_of
from gesso.core.errors import UsageError

if TYPE_CHECKING:
    from gesso.cli.album import Album
    from gesso.cli.progress import Timings
    from gesso.core.requests import ImageRequest
    from gesso.core.settings import Settings


def generate(  # one parameter for each option: that is how Typer declares them
    context: typer.Context,
    prompt: options.Prompt = None,
    model: options.Model = None,
    part: options.Parts = None,
    vae: options.Vae = None,
    vae_decoder: options.VaeDecoder = None,
    vae_encoder: options.VaeEncoder = None,
    yes: options.Yes = False,
    negative: options.Negative = None,
    dialect: options.Dialect = None,
    weighting: options.Weighting = None,
    style: options.Style = None,
    no_style: options.NoStyle = False,
    dynamic: options.Dynamic = None,
    wildcard_seed: options.WildcardSeed = None,
    size: options.Size = None,
    tiling: options.Tiling = None,
    no_tiling: options.NoTiling = False,
    hires: options.Hires = None,
    no_hires: options.NoHires = False,
    hires_upscaler: options.HiresUpscaler = None,
    hires_steps: options.HiresSteps = None,
    hires_strength: options.HiresStrength = None,
    hires_sampler: options.HiresSampler = None,
    hires_schedule: options.HiresSchedule = None,
    hires_guidance: options.HiresGuidance = None,
    hires_prompt: options.HiresPrompt = None,
    hires_negative: options.HiresNegative = None,
    refiner: options.Refiner = None,
    no_refiner: options.NoRefiner = False,
    refiner_at: options.RefinerAt = None,
    seed: options.Seed = None,
    count: options.Count = None,
    from_image: options.FromImage = None,
    image: options.Image = None,
    strength: options.Strength = None,
    resize: options.Resize = None,
    mask: options.Mask = None,
    no_mask: options.NoMask = False,
    invert_mask: options.InvertMask = None,
    mask_blur: options.MaskBlur = None,
    soft_mask: options.SoftMask = None,
    only_masked: options.OnlyMasked = None,
    padding: options.Padding = None,
    fill: options.Fill = None,
    keep_outside: options.KeepOutside = None,
    left: options.Left = None,
    right: options.Right = None,
    up: options.Up = None,
    down: options.Down = None,
    no_outpaint: options.NoOutpaint = False,
    color_correction: options.ColorCorrection = None,
    loras: options.Lora = None,
    embedding: options.Embedding = None,
    embeddings_by_name: options.EmbeddingsByName = None,
    strict: options.Strict = None,
    steps: options.Steps = None,
    sampler: options.Sampler = None,
    schedule: options.Schedule = None,
    guidance: options.Guidance = None,
    guidance_rescale: options.GuidanceRescale = None,
    guidance_start: options.GuidanceStart = None,
    guidance_stop: options.GuidanceStop = None,
    dynamic_thresholding: options.DynamicThresholding = None,
    clip_skip: options.ClipSkip = None,
    eta: options.Eta = None,
    s_churn: options.SChurn = None,
    s_tmin: options.STmin = None,
    s_tmax: options.STmax = None,
    s_noise: options.SNoise = None,
    sgm_noise_multiplier: options.SgmNoiseMultiplier = None,
    noise_source: options.NoiseSource = None,
    eta_seed_offset: options.EtaSeedOffset = None,
    variation_seed: options.VariationSeed = None,
    variation_strength: options.VariationStrength = None,
    arguments: options.Arguments = None,
    device: options.Device = None,
    precision: options.Precision = None,
    exact: options.Exact = None,
    priority: options.Priority = None,
    owner: options.Owner = None,
    deadline: options.Deadline = None,
    journal: options.Journal = None,
    out: options.Out = None,
    output_format: options.Format = None,
    as_json: AsJson = False,
) -> None:
    """Paint pictures from a prompt, save them and print where they are."""
    if prompt is None and from_image is None:
        example = '`gesso generate "a red circle"`' if image is None else "the words stand behind the picture"
        raise UsageError("There is no prompt", hint=f"say what to paint: {example}")
    refuse_empty(image, words="picture")
    refuse_empty(mask, words="mask")
    width, height = parsed_size(size)
    if from_image is not None:
        check_picture(from_image)
    settings = settings_of(context)
    if journal is not None:
        check_writable(journal, option="--journal")
    asked: dict[str, Any] = {
        "prompt": None if prompt is None else " ".join(prompt),
        "negative_prompt": negative,
        "dialect": dialect,
        "weighting": weighting,
        "styles": tuple(style) if style else None,
        "dynamic": dynamic,
        "wildcard_seed": wildcard_seed,
        "model": model,
        "parts": parts_from(part),
        "vae": vae,
        "vae_decoder": vae_decoder,
        "vae_encoder": vae_encoder,
        "image": image,
        "strength": strength,
        "resize": resize,
        "inpaint": inpaint_fields(
            mask=mask,
            invert=invert_mask,
            blur=mask_blur,
            soft=soft_mask,
            only_masked=only_masked,
            padding=padding,
            fill=fill if mask is not None else None,
            keep_outside=keep_outside,
        ),
        "outpaint": outpaint_fields(
            {"left": left, "right": right, "up": up, "down": down}, fill if mask is None else None
        ),
        "color_correction": color_correction,
        "width": width,
        "height": height,
        "steps": steps,
        "sampler": sampler,
        "schedule": schedule,
        "guidance": guidance,
        "guidance_rescale": guidance_rescale,
        "guidance_start": guidance_start,
        "guidance_stop": guidance_stop,
        "dynamic_thresholding": thresholding(dynamic_thresholding),
        "tiling": tiling,
        "hires": hires_pass(
            hires,
            upscaler=hires_upscaler,
            steps=hires_steps,
            strength=hires_strength,
            sampler=hires_sampler,
            schedule=hires_schedule,
            guidance=hires_guidance,
            prompt=hires_prompt,
            negative_prompt=hires_negative,
        ),
        "refiner": refiner_use(refiner, refiner_at),
        "seed": seed,
        "count": count,
        "clip_skip": clip_skip,
        "eta": eta,
        "s_churn": s_churn,
        "s_tmin": s_tmin,
        "s_tmax": s_tmax,
        "s_noise": s_noise,
        "sgm_noise_multiplier": sgm_noise_multiplier,
        "noise_source": noise_source,
        "eta_seed_offset": eta_seed_offset,
        "variation_seed": variation_seed,
        "variation_strength": variation_strength,
        "adapters": adapters(loras),
        "embeddings": embeddings(embedding),
        "embeddings_by_name": embeddings_by_name,
        "strict": strict,
        "device": device,
        "precision": precision,
        "exact": exact,
        "arguments": pairs("--set", arguments) or None,
        "output_format": checked_format(out, settings, count=count or 1, asked=output_format),
        "priority": priority,
        "owner": owner,
        "deadline_seconds": deadline,
    }

    from gesso.cli.asking import check_needed, request_from

    asked = {name: value for name, value in asked.items() if value is not None}
    asked |= left_out(
        from_image,
        asked,
        styles=no_style,
        tiling=no_tiling,
        hires=no_hires,
        refiner=no_refiner,
        inpaint=no_mask,
        outpaint=no_outpaint,
    )
    request = request_from(from_image, asked, settings)
    check_needed(request, command=context.info_name)
    refuse_to_replace(sources_of(request), out)
    fetch = partial(fetch_missing, settings=settings, yes=yes)
    if image is not None and is_folder(image):
        refuse_for_folders(out, journal)
        run_folder(request, Path(image).expanduser(), settings, fetch=fetch, out=out, as_json=as_json)
        return
    _run(request, settings, fetch=fetch, out=out, journal=journal, as_json=as_json)


def _run(
    request: "ImageRequest",
    settings: "Settings",
    *,
    fetch: Fetch,
    out: Path | None,
    journal: Path | None,
    as_json: bool,
) -> None:
    """Make the pictures, save them and say where they are: also those of a request that failed or was interrupted."""
    from gesso.cli.album import Album
    from gesso.cli.progress import Timings

    album, timings, warnings = Album(out, settings, journal), Timings(), list[str]()
    try:
        paint = partial(_paint, settings=settings, album=album, timings=timings, journal=journal)
        warnings += with_models_here(request, paint, fetch)
        album.close()
    finally:
        for path in album.removed:
            print_warning(f"`{path}` was removed after it was saved")
        if as_json and album.paths:
            told = {"images": album.as_list(), **album.reports(), "warnings": warnings, "timings": timings.as_dict()}
            print_json(told)
        elif album.paths:
            print("\n".join(str(path) for path in album.paths))


def _paint(
    request: "ImageRequest", *, settings: "Settings", album: "Album", timings: "Timings", journal: Path | None
) -> tuple[str, ...]:
    """Run a request while a person watches, and return its warnings. Ctrl-C, or any failure here, cancels it."""
    from gesso.cli.progress import progress_bar

    with progress_bar(count=request.count, timings=timings) as bar:
        from gesso.core.events import ImageCompleted
        from gesso.engine.studio import Studio

        with Studio(settings) as studio:
            handle = studio.submit(request, journal=journal)
            try:
                for event in handle.events():
                    bar.show(event)
                    if isinstance(event, ImageCompleted):
                        album.add_ready(handle)
                result = handle.result()
            except BaseException:
                handle.cancel()
                raise
            finally:
                album.add_rest(handle)
            for warning in result.warnings:
                bar.warn(warning)
            return result.warnings
