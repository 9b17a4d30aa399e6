"""News of a request, in the order it happened.

Every event carries the request's id, a gapless sequence number from 0 and a UTC time. Previews may be dropped for a
slow reader; all other events never are (the sequence is numbered on delivery, so it stays gapless either way).
"""

from typing import Annotated, Literal

from pydantic import Field, TypeAdapter

from gesso.core.requests import Value


class _Event(Value):
    request_id: str
    sequence: int
    time: str
    """UTC, ISO 8601."""


class Queued(_Event):
    """The request was accepted."""

    kind: Literal["queued"] = "queued"


class ModelLoading(_Event):
    """The model is being read from the disk, because no request had used it yet."""

    kind: Literal["model-loading"] = "model-loading"
    model: str


class ImageStarted(_Event):
    """A picture of the request has begun."""

    kind: Literal["image-started"] = "image-started"
    image: int


class StepCompleted(_Event):
    """`completed` of `total` sampling steps of a picture are done."""

    kind: Literal["step-completed"] = "step-completed"
    image: int
    completed: int
    total: int


class PreviewReady(_Event):
    """A small PNG of what the picture is becoming."""

    kind: Literal["preview-ready"] = "preview-ready"
    image: int
    completed: int
    png: bytes = Field(repr=False)


class ImageCompleted(_Event):
    """A picture is decoded."""

    kind: Literal["image-completed"] = "image-completed"
    image: int


class Warned(_Event):
    """Something the reader should know; the request goes on."""

    kind: Literal["warned"] = "warned"
    message: str


class Completed(_Event):
    """All pictures are there."""

    kind: Literal["completed"] = "completed"


class Failed(_Event):
    """The request ended in an error."""

    kind: Literal["failed"] = "failed"
    error: str
    message: str
    hint: str | None


class Cancelled(_Event):
    """The request was cancelled."""

    kind: Literal["cancelled"] = "cancelled"


Event = Annotated[
    Queued
    | ModelLoading
    | ImageStarted
    | StepCompleted
    | PreviewReady
    | ImageCompleted
    | Warned
    | Completed
    | Failed
    | Cancelled,
    Field(discriminator="kind"),
]
EVENT: TypeAdapter[Event] = TypeAdapter(Event)

TERMINAL_KINDS = frozenset({"completed", "failed", "cancelled"})
