"""What is known of a base beyond its family: its name on the hub, defaults, sizes, licence, and what fits it."""

from dataclasses import dataclass

from gesso.models.families import Sampling


@dataclass(frozen=True, kw_only=True)
class TrainingSizes:
    """Sizes that a base can be trained at. Of the least and the most, the area counts, so that any shape has its share.

    Unless its maker says otherwise, half to one and a half times the side that it was trained at: pictures beyond that
    teach it something that it will not be asked for.
    """

    least_px: int
    """Side of a square."""
    most_px: int
    """Side of a square."""
    multiple_px: int
    """Of both sides."""


@dataclass(frozen=True, kw_only=True)
class Base:
    """One published checkpoint. `None` is said of what could not be verified."""

    name: str
    """What Gesso calls it; lower-case kebab."""
    title: str
    hub_id: str
    aliases: tuple[str, ...] = ()
    """Other names that people type."""
    other_hub_ids: tuple[str, ...] = ()
    """Where the same weights are or were, for folders that were made from them."""
    family: str
    """As `gesso models show FILE` calls it: adapters and ControlNets of the same family fit."""
    variant: str | None = None
    """Of the family, where adapters of one variant do not fit another."""
    pipeline: str
    """Class name in diffusers."""
    task: str = "text-to-image"
    native_px: int
    """Side of the square pictures that it was trained on."""
    native_sizes: tuple[tuple[int, int], ...] = ()
    """Width and height of all sizes that it was trained on, where there are few of them."""
    usual_pixels: tuple[int, int] | None = None
    """Fewest and most pixels of a picture, where its maker names them."""
    training: TrainingSizes | None = None
    """`None`: nothing is known, and nothing refused."""
    prediction: str | None
    """As `gesso models show FILE` calls it."""
    defaults: Sampling | None = None
    """Where they differ from those of its family, or of its pipeline."""
    burns_above: float | None = None
    """Guidance above which a checkpoint that was distilled without guidance makes burnt pictures."""
    licence: str | None
    """As its model card names it."""
    gated: bool | None = None
    """The hub gives it only to accounts that have accepted its terms."""
    controlnets: tuple[str, ...] = ()
    """Hub ids of ControlNets that were made for it; others of its family fit too."""
    source: str
    """Where the facts are from."""

    @property
    def hub_ids(self) -> tuple[str, ...]:
        return (self.hub_id, *self.other_hub_ids)
