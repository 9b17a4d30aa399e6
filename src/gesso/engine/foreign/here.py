"""What a foreign recipe names, found on this machine: its model, VAE, networks and embeddings."""

import re
from dataclasses import dataclass

from gesso.core.errors import GessoError
from gesso.core.requests import PromptDialect
from gesso.engine.facts import ModelFacts
from gesso.engine.foreign.refiner import named_refiner
from gesso.engine.foreign.values import ForeignRecipe, NamedModel, file_name
from gesso.engine.infotext import HASH_DIGITS
from gesso.engine.prompt.networks import take_networks
from gesso.models.adapters.find import find_adapter
from gesso.models.index.finding import has_hash, looks_like_hash
from gesso.models.recognition.kinds import Kind
from gesso.models.store import PAINTERS, ModelStore
from gesso.models.vaes import find_vae


def with_model(recipe: ForeignRecipe, store: ModelStore, *, usual: str) -> ForeignRecipe:
    """With the model that it names, by its hash or by its name; `usual` makes the picture if there is none."""
    model = recipe.model
    if model is None:
        return recipe
    found = _found(model, store)
    if found is None:
        why = f"it is not here, `{usual}` is used: `--model` chooses another, `gesso models pull` fetches one"
        return recipe.leaving("Model", _called(model), why)
    return recipe.with_fields("Model", _called(model), found.note, model=found.reference)


def with_refiner(recipe: ForeignRecipe, store: ModelStore) -> ForeignRecipe:
    """With the refiner that it names, likewise; without one that is not here."""
    use = recipe.fields.get("refiner")
    if use is None:
        return recipe
    written = next(one.value for one in recipe.carried if "refiner" in one.fields)
    found = _found(named_refiner(written), store)
    if found is None:
        return recipe.without("refiner", why="it is not here; `--refiner` names another")
    use = {**use, "model": found.reference}
    return (
        recipe.with_fields("Refiner", written, found.note, refiner=use) if found.note else recipe.replacing(refiner=use)
    )


@dataclass(frozen=True, kw_only=True)
class _Found:
    """A model that is here."""

    reference: str
    note: str = ""


def _found(model: NamedModel, store: ModelStore) -> _Found | None:
    """By its hash, else by its name."""
    digest = model.hash_ if model.hash_ is not None and looks_like_hash(model.hash_) else None
    if digest is not None:
        try:
            return _Found(reference=store.find_file(digest, kinds=PAINTERS).name)
        except GessoError:
            pass
    found = _named(model.name, store) if model.name else None
    if found is None or not model.name:
        return None
    return _Found(reference=found, note="" if digest is None else _other_weights(model.name, found, digest, store))


def _called(model: NamedModel) -> str:
    return f"{model.name} [{model.hash_}]" if model.name and model.hash_ else str(model.name or model.hash_)


def _named(name: str, store: ModelStore) -> str | None:
    """By its name, with its folders or without, as programs differ in what they write."""
    for spelling in dict.fromkeys((name, file_name(name), file_name(name).rpartition("/")[2])):
        if spelling.startswith((".", "~", "/")):  # a name is wanted: paths of other machines mean nothing here
            continue
        try:
            store.find(spelling)
        except GessoError:
            continue
        return spelling
    return None


def _other_weights(name: str, found: str, digest: str, store: ModelStore) -> str:
    """What is to be said of a model that goes by the `name` in the recipe, `found` here, if it has another hash.

    A folder has the one that Gesso writes of it; other programs write that of a file, whose weights may be the same.
    """
    try:
        model = store.find(found)
        own = (store.identities.soon(model) or "").removeprefix("sha256:")
        if has_hash(digest, sha256=own, old_hash=None):
            return ""
        if model.path.is_dir():
            said = f"the folder of that name here has hash {own[:HASH_DIGITS]}, its weights may be others"
            return said if own else ""
        file = store.find_file(name, kinds=PAINTERS)
    except GessoError:
        return ""
    if file.sha256 is None and file.facts.old_hash is None:
        return ""
    same = has_hash(digest, sha256=file.sha256, old_hash=file.facts.old_hash)
    return "" if same else f"the file of that name here has other weights than those of hash {digest}"


def with_networks(recipe: ForeignRecipe, store: ModelStore, facts: ModelFacts, *, here: bool) -> ForeignRecipe:
    """With the VAE, adapters and embeddings that it names, as far as they are here. `here`: whether its model is."""
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
