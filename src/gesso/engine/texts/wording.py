"""From what was asked to the texts of each picture: styles round the prompts, then choices by the picture's seed."""

from collections.abc import Callable
from dataclasses import dataclass

from gesso.core.errors import InputError
from gesso.core.requests import MAX_SEED, HiresPass, ImageRequest, PictureWords, PromptDialect, ResolvedImageRequest
from gesso.engine.facts import ModelFacts
from gesso.engine.prompt.choices import parse_template
from gesso.engine.prompt.choosing import Chooser, check_names, has_choices
from gesso.engine.resolve import check_ranges, check_texts, dialect_of
from gesso.engine.texts.styles import Styles, styled
from gesso.engine.texts.wildcards import Wildcards

MAX_CHOSEN = 10_000
"""Pictures of a request whose texts are chosen: all of them are, before the first is made."""


@dataclass(frozen=True)
class Wording:
    """The texts of a picture."""

    prompt: str
    negative_prompt: str
    second_prompt: str | None = None
    """Of a second pass that has one of its own."""
    second_negative_prompt: str | None = None

    def each(self, become: Callable[[str, str], str]) -> "Wording":
        """With another text for each that there is. `become`: which one it is, and the text, to the other text."""
        texts = {name: text for name, text in vars(self).items() if text is not None}
        return Wording(**{name: become(name, text) for name, text in texts.items()})


@dataclass(frozen=True, kw_only=True)
class Wordings:
    """The texts of all pictures of a request: one for each, or one for all."""

    texts: tuple[Wording, ...]
    dynamic: bool
    """Whether chance had a say."""


def wordings(
    request: ImageRequest, dialect: PromptDialect, styles: Styles, wildcards: Wildcards, *, seed: int
) -> Wordings:
    """What the pictures of a request read.

    Args:
        seed: of the first picture.

    Raises:
        UnknownNameError: a style or a wildcard that is not here, whether it would be chosen or not.
        InputError: choices that cannot be made, or a seed for them where nothing is chosen.
    """
    asked = _styled(request, styles)
    dynamic = dialect is PromptDialect.GESSO if request.dynamic is None else request.dynamic
    templates = {text: parse_template(text) for text in vars(asked).values() if dynamic and text is not None}
    if not any(has_choices(template) for template in templates.values()):
        if request.wildcard_seed is not None:
            raise InputError(
                f"Wildcard seed {request.wildcard_seed} has no effect: nothing in the prompts is chosen",
                hint="leave it out, or write `{a|b}` or `__name__`"
                + ("" if dynamic else f"; the dialect `{dialect}` reads these with `--dynamic` only"),
            )
        return Wordings(texts=(asked,), dynamic=False)
    if request.count > MAX_CHOSEN:
        raise InputError(
            f"{request.count:,} pictures of one request would each choose their texts",
            hint=f"ask for {MAX_CHOSEN:,} at most at a time",
        )
    lookup = wildcards.lookup()
    for template in templates.values():
        check_names(template, lookup)
    unescape = dialect in (PromptDialect.PLAIN, PromptDialect.COMFYUI)

    def chosen(index: int) -> Wording:
        own = seed_of(request, index, seed)
        return asked.each(
            lambda name, text: Chooser(lookup, seed=own, what=_CHOSEN_AS[name], unescape=unescape).text(templates[text])
        )

    texts = [chosen(index) for index in range(request.count)]
    return Wordings(texts=tuple(texts) if len(set(texts)) > 1 else (texts[0],), dynamic=True)


def seed_of(request: ImageRequest, index: int, seed: int) -> int:
    """The seed by which the texts of picture `index` are chosen: the picture's own, unless the request has another."""
    if request.wildcard_seed is not None:
        return (request.wildcard_seed + index) % (MAX_SEED + 1)
    # All variations of a picture have its seed.
    return seed if request.variation_strength else (seed + index) % (MAX_SEED + 1)


_CHOSEN_AS = {
    "prompt": "prompt",
    "negative_prompt": "negative prompt",
    "second_prompt": "prompt",
    "second_negative_prompt": "negative prompt",
}
"""The first choice of a second pass's prompt is made as the first choice of the prompt, and so on."""


def _styled(request: ImageRequest, styles: Styles) -> Wording:
    named, second = styles.named(request.styles), request.hires or HiresPass()
    asked = Wording(request.prompt, request.negative_prompt or "", second.prompt, second.negative_prompt)
    return asked.each(
        lambda name, text: styled(
            text, [style.negative_prompt if name.endswith("negative_prompt") else style.prompt for style in named]
        )
    )


Decide = Callable[[ImageRequest, bool], ResolvedImageRequest]
"""A request with the texts of one picture, and whether they were chosen → what will be done."""

_OF_A_PICTURE = frozenset(PictureWords.model_fields)


class Worder:
    """Decides requests text by text."""

    def __init__(self, styles: Styles, wildcards: Wildcards) -> None:
        self._styles = styles
        self._wildcards = wildcards

    def each(self, request: ImageRequest, facts: ModelFacts, decide: Decide, *, seed: int) -> ResolvedImageRequest:
        """What will be done of a request, every text of it looked at.

        Args:
            seed: used if the request has none.

        Raises:
            InputError: as `wordings` and `decide` do; or pictures would differ in more than their texts, because
                some of these name an adapter that is sampled otherwise.
        """
        check_texts(request, facts)
        check_ranges(request)
        first_seed = request.seed if request.seed is not None else seed
        dialect = dialect_of(request, facts)
        found = wordings(request, dialect, self._styles, self._wildcards, seed=first_seed)
        # Decided once, of what was written: a style around a prompt does not change how it is read.
        request = request.model_copy(update={"dialect": dialect})
        decided = {text: decide(_worded(request, text), found.dynamic) for text in dict.fromkeys(found.texts)}
        first = decided[found.texts[0]]
        if len(found.texts) == 1:
            return first
        common = first.model_dump(exclude=set(_OF_A_PICTURE))
        for text, other in decided.items():
            differing = [
                name for name, value in other.model_dump(exclude=set(_OF_A_PICTURE)).items() if value != common[name]
            ]
            if differing:
                names = " and ".join(f"`{name}`" for name in differing)
                raise InputError(
                    f"`{text.prompt}` asks for other {names} than `{found.texts[0].prompt}`",
                    hint=f"say which for all pictures: {names}",
                )
        words = {text: _words(one) for text, one in decided.items()}
        return first.model_copy(update={"words": tuple(words[text] for text in found.texts)})


def _worded(request: ImageRequest, text: Wording) -> ImageRequest:
    if (request.prompt, request.negative_prompt or "") != (text.prompt, text.negative_prompt):
        request = request.model_copy(update={"prompt": text.prompt, "negative_prompt": text.negative_prompt})
    if request.hires is None:
        return request
    texts = {"prompt": text.second_prompt, "negative_prompt": text.second_negative_prompt}
    return request.model_copy(update={"hires": request.hires.model_copy(update=texts)})


def _words(resolved: ResolvedImageRequest) -> PictureWords:
    return PictureWords.model_validate({name: getattr(resolved, name) for name in _OF_A_PICTURE})
