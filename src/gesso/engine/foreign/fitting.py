"""A foreign recipe held against what is on this machine: its model, VAE, networks, and what the model takes."""

import re
from collections.abc import Mapping
from dataclasses import fields as dataclass_fields
from dataclasses import replace
from typing import Any

from gesso.core.errors import GessoError
from gesso.core.requests import PromptDialect
from gesso.engine.facts import ModelFacts, facts_of
from gesso.engine.foreign.comfyui import DENOISE, file_name
from gesso.engine.foreign.numbers import between, number
from gesso.engine.foreign.pairs import DENOISING
from gesso.engine.foreign.values import ForeignRecipe, NamedModel, Program
from gesso.engine.guidance.checks import check_guidance
from gesso.engine.hires.checks import resolve_hires
from gesso.engine.prompt.networks import take_networks
from gesso.engine.resolve import LEAST_STRENGTH
from gesso.engine.samplers.table import AUTOMATIC, DEFAULT, SAMPLERS, Chance, resolve_sampler, takes_chance
from gesso.models.adapters.find import find_adapter
from gesso.models.folder import ModelDescription
from gesso.models.index.finding import has_hash, looks_like_hash
from gesso.models.recognition.kinds import Kind
from gesso.models.store import PAINTERS, ModelStore
from gesso.models.vaes import find_vae

_IGNORES_CLIP_SKIP = frozenset({Program.AUTOMATIC1111, Program.FORGE})
_BEGINNING = re.compile(r"(LoadImage|VAEEncode) #|Init image")
"""Names of what is the picture that another began with."""
_FLOW_LEVELS = frozenset({"simple", "uniform"})
"""Of rectified flows: those of `simple` are the pipeline's own, but for the shift, which follows the size here."""


def fitted(recipe: ForeignRecipe, store: ModelStore, overrides: Mapping[str, Any], *, usual: str) -> ForeignRecipe:
    """The recipe for the model that will make the picture.

    Args:
        overrides: fields of the request that have other values in any case. A sampler that is among them goes without
            what was said of the other one.
        usual: the model that makes it if that of the recipe is not here.
    """
    chosen = overrides.get("model")
    if "sampler" in overrides:
        own = {"sampler": overrides["sampler"], "schedule": None}
        recipe = recipe.replacing(**dict.fromkeys(field.name for field in dataclass_fields(Chance)), **own)
    if "image" in overrides and "strength" not in overrides:
        recipe = _strength(recipe)
    recipe = recipe.replacing(model=chosen) if chosen is not None else _with_model(recipe, store, usual=usual)
    asked = recipe.fields.get("model", usual)
    try:
        description = store.find(asked)
        facts = facts_of(description, asked=asked)
    except GessoError:  # told when the request is made, with its own words
        return recipe
    recipe = _with_networks(recipe, store, facts, here=chosen is not None or "model" in recipe.fields)
    for fit in (_prompt_language, _clip_skip, _sampler, _chance, _guidance, _negative, _tiling, _size, _second_pass):
        recipe = fit(recipe, facts)
    return recipe


def _strength(recipe: ForeignRecipe) -> ForeignRecipe:
    """Of a picture that began with another, which is given now. ComfyUI makes all its steps at any strength."""
    recipe = replace(recipe, left_out=tuple(one for one in recipe.left_out if not _BEGINNING.match(one.name)))
    for one in recipe.left_out:
        if one.name != DENOISING and not one.name.endswith(DENOISE):
            continue
        try:
            strength = between(number, LEAST_STRENGTH, 1)(one.value)
        except ValueError:
            continue
        recipe = replace(recipe, left_out=tuple(other for other in recipe.left_out if other is not one))
        if recipe.program is not Program.COMFYUI:
            return recipe.with_fields(one.name, one.value, "one step more is made there", strength=strength)
        steps = int(recipe.fields.get("steps", 1) / strength)
        return recipe.with_fields(one.name, one.value, strength=strength, steps=steps)
    return recipe


# --- what is here


def _with_model(recipe: ForeignRecipe, store: ModelStore, *, usual: str) -> ForeignRecipe:
    model = recipe.model
    if model is None:
        return recipe
    digest = model.hash_ if model.hash_ is not None and looks_like_hash(model.hash_) else None
    if digest is not None:
        try:
            file = store.find_file(digest, kinds=PAINTERS)
        except GessoError:
            pass
        else:
            return recipe.with_fields("Model hash", digest, model=file.name)
    if model.name:
        found = _named(model.name, store)
        if found is not None:
            return recipe.with_fields("Model", model.name, _other_weights(model.name, digest, store), model=found[0])
    why = f"it is not here, `{usual}` is used: `--model` chooses another, `gesso models pull` fetches one"
    return recipe.leaving("Model", _called(model), why)


def _called(model: NamedModel) -> str:
    return f"{model.name} [{model.hash_}]" if model.name and model.hash_ else str(model.name or model.hash_)


def _named(name: str, store: ModelStore) -> tuple[str, ModelDescription] | None:
    """By its name, with its folders or without, as programs differ in what they write."""
    for spelling in dict.fromkeys((name, file_name(name), file_name(name).rpartition("/")[2])):
        if spelling.startswith((".", "~", "/")):  # a name is wanted: paths of other machines mean nothing here
            continue
        try:
            return spelling, store.find(spelling)
        except GessoError:
            continue
    return None


def _other_weights(name: str, digest: str | None, store: ModelStore) -> str:
    if digest is None:
        return ""
    try:
        file = store.find_file(name, kinds=PAINTERS)
    except GessoError:
        return ""
    if file.sha256 is None and file.facts.old_hash is None:
        return ""
    same = has_hash(digest, sha256=file.sha256, old_hash=file.facts.old_hash)
    return "" if same else f"the file of that name here has other weights than those of hash {digest}"


def _with_networks(recipe: ForeignRecipe, store: ModelStore, facts: ModelFacts, *, here: bool) -> ForeignRecipe:
    recipe = _vae(recipe, store, here=here)
    recipe = _adapters(recipe, store)
    if facts.reads is None:
        recipe = _tags(recipe, store)
    return _embeddings(recipe, store)


def _vae(recipe: ForeignRecipe, store: ModelStore, *, here: bool) -> ForeignRecipe:
    name = recipe.fields.get("vae")
    if name is None:
        return recipe
    if not here:
        return recipe.without("vae", why="its model is not here")
    for spelling in (dict(recipe.described).get("VAE hash"), name, file_name(name)):
        if not spelling or spelling.startswith((".", "~", "/")):
            continue
        try:
            place = find_vae(spelling, store)
        except GessoError:
            continue
        return recipe.replacing(vae=place.name)
    return recipe.without("vae", why="there is no such VAE here, the model's own is used; `--vae` chooses another")


def _adapters(recipe: ForeignRecipe, store: ModelStore) -> ForeignRecipe:
    uses = recipe.fields.get("adapters", ())
    missing = [use["name"] for use in uses if not _adapter_here(use["name"], store)]
    if not missing:
        return recipe
    recipe = recipe.replacing(adapters=tuple(use for use in uses if use["name"] not in missing))
    for name in missing:
        recipe = recipe.leaving("LoRA", name, "there is no such adapter here")
    return recipe


def _adapter_here(name: str, store: ModelStore) -> bool:
    try:
        find_adapter(name, store)
    except GessoError:
        return False
    return True


def _tags(recipe: ForeignRecipe, store: ModelStore) -> ForeignRecipe:
    """On a model whose prompts are plain text, the networks that the prompt names are taken out of it here."""
    if recipe.fields.get("dialect") is not PromptDialect.A1111:
        return recipe
    try:
        found = take_networks(recipe.fields["prompt"], PromptDialect.A1111)
    except GessoError as error:
        return recipe.leaving("Prompt", "<lora:…>", error.message)
    if found.prompt == recipe.fields["prompt"]:
        return recipe
    uses = [{"name": use.name, "weight": use.weight} for _, use in found.adapters if _adapter_here(use.name, store)]
    recipe = recipe.replacing(prompt=found.prompt)
    if uses:
        recipe = recipe.with_fields("Prompt", "<lora:…>", adapters=(*recipe.fields.get("adapters", ()), *uses))
    for tag, use in found.adapters:
        if not _adapter_here(use.name, store):
            recipe = recipe.leaving("Prompt", tag, "there is no such network here")
    for tag in found.unknown:
        recipe = recipe.leaving("Prompt", tag, "networks of that kind are not applied")
    return recipe


def _embeddings(recipe: ForeignRecipe, store: ModelStore) -> ForeignRecipe:
    """Names of embeddings that are not here: ComfyUI leaves them out, the others read them as words."""
    for one in [one for one in recipe.carried if one.name == "embedding"]:
        word = file_name(one.value)
        if not _embedding_here(word, store):
            texts = {name: recipe.fields[name] for name in ("prompt", "negative_prompt") if recipe.fields.get(name)}
            without = {name: re.sub(rf"(?<![\w/]){re.escape(word)}(?![\w/])", "", text) for name, text in texts.items()}
            recipe = recipe.replacing(**without).leaving("embedding", one.value, "it is not here, and left out")
    for key, value in recipe.described:
        if key in {"TI hashes", "Embeddings"}:
            for name in (entry.partition(":")[0].strip() for entry in value.split(",")):
                if name and not _embedding_here(name, store):
                    recipe = recipe.leaving(key, name, "it is not here, and its name is read as words")
    return recipe


def _embedding_here(name: str, store: ModelStore) -> bool:
    try:
        store.find_file(name, kinds=(Kind.TEXTUAL_INVERSION,))
    except GessoError:
        return False
    return True


# --- what the model takes


def _prompt_language(recipe: ForeignRecipe, facts: ModelFacts) -> ForeignRecipe:
    if facts.reads is not None:
        return recipe
    return recipe.without("dialect", "weighting", why=f"`{facts.name}` reads prompts as plain text")


def _clip_skip(recipe: ForeignRecipe, facts: ModelFacts) -> ForeignRecipe:
    """Of SDXL, AUTOMATIC1111 reads the usual layers whatever it writes, and ComfyUI counts them from the last one."""
    skip = recipe.fields.get("clip_skip")
    if skip is None:
        return recipe
    if facts.family == "sdxl" and recipe.program in _IGNORES_CLIP_SKIP:
        return recipe.describing("clip_skip")
    if facts.family == "sdxl" and recipe.program is Program.COMFYUI:
        if skip == 1:
            return recipe.without("clip_skip", why="the last layer of SDXL's text encoders is not read here")
        return recipe.replacing(clip_skip=skip - 1)
    if not facts.clip_skip:
        if skip == 1:
            return recipe.describing("clip_skip")
        return recipe.without("clip_skip", why=f"`{facts.name}` has none")
    return recipe


def _sampler(recipe: ForeignRecipe, facts: ModelFacts) -> ForeignRecipe:
    name, schedule = recipe.fields.get("sampler"), recipe.fields.get("schedule")
    if name is None:
        return recipe
    if facts.flow and schedule in _FLOW_LEVELS:
        recipe = recipe.replacing(schedule=None)
        schedule = None
    try:
        resolve_sampler(name, schedule, flow=facts.flow, scheduler_class=facts.scheduler)
    except GessoError as error:
        return recipe.without("sampler", "schedule", why=error.message)
    return recipe


def _chance(recipe: ForeignRecipe, facts: ModelFacts) -> ForeignRecipe:
    sampler = SAMPLERS.get(recipe.fields.get("sampler") or DEFAULT)
    form = sampler.form(flow=facts.flow) if sampler is not None else None
    for field in dataclass_fields(Chance):
        if field.name in recipe.fields and not takes_chance(form, field.name):
            recipe = recipe.without(field.name, why="it has no effect on the sampler here")
    if not recipe.fields.get("s_churn"):
        recipe = recipe.without("s_tmin", "s_tmax", why="it has no effect without churn")
    return recipe


def _guidance(recipe: ForeignRecipe, facts: ModelFacts) -> ForeignRecipe:
    arguments = dict(recipe.fields.get("arguments", {}))
    if "true_cfg_scale" in arguments and "true_cfg_scale" not in facts.accepts:
        recipe = recipe.without("arguments", why=f"`{facts.name}` has no second guidance")
    elif arguments and not arguments.keys() <= facts.accepts:
        recipe = recipe.without("arguments", why=f"`{facts.name}` does not take it")
    if not facts.takes_guidance and recipe.fields.get("guidance", 1.0) not in {0.0, 1.0}:
        recipe = recipe.without("guidance", why=f"guidance has no effect on `{facts.name}`")
    try:
        check_guidance(recipe.request, facts, recipe.fields.get("guidance", facts.defaults.guidance))
    except GessoError as error:
        changes = ("guidance_start", "guidance_stop", "guidance_rescale", "dynamic_thresholding")
        return recipe.without(*changes, why=error.message)
    return recipe


def _second_pass(recipe: ForeignRecipe, facts: ModelFacts) -> ForeignRecipe:
    """Whether one can be made of it on this model, is for the one who makes it to say."""
    fields = recipe.fields
    if "hires" not in fields:
        return recipe
    size = tuple(fields.get(name, own) for name, own in zip(("width", "height"), facts.default_size_px, strict=True))
    try:
        resolve_hires(
            recipe.request,
            facts,
            size_px=(size[0], size[1]),
            steps=fields.get("steps", facts.defaults.steps),
            sampler=(fields.get("sampler", DEFAULT), fields.get("schedule", AUTOMATIC)),
            guidance=fields.get("guidance", facts.defaults.guidance),
        )
    except GessoError as error:
        return recipe.without("hires", why=error.message)
    return recipe


def _tiling(recipe: ForeignRecipe, facts: ModelFacts) -> ForeignRecipe:
    if "tiling" in recipe.fields and not facts.convolves:
        return recipe.without("tiling", why=f"`{facts.name}` has no convolutions that could wrap round")
    return recipe


def _negative(recipe: ForeignRecipe, facts: ModelFacts) -> ForeignRecipe:
    if not recipe.fields.get("negative_prompt"):
        return recipe
    second = recipe.fields.get("arguments", {}).get("true_cfg_scale", 1.0) > 1
    if not facts.takes_negative_prompt or (facts.distilled and not second):
        return recipe.without("negative_prompt", why=f"it has no effect on `{facts.name}`")
    return recipe


def _size(recipe: ForeignRecipe, facts: ModelFacts) -> ForeignRecipe:
    sides = {name: recipe.fields[name] for name in ("width", "height") if name in recipe.fields}
    multiple = facts.size_multiple_px
    fitting = {name: max(multiple, side // multiple * multiple) for name, side in sides.items()}
    if fitting == sides:
        return recipe
    said = "x".join(str(side) for side in fitting.values())
    note = f"`{facts.name}` makes sides that are multiples of {multiple}, so {said} is made"
    return recipe.with_fields("(size)", "x".join(str(side) for side in sides.values()), note, **fitting)
