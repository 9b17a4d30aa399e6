"""`gesso primer`: the world of the embedded model, how well it is learned and read, and learning more of it."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gesso.cli.commands import Commands
from gesso.cli.destination import check_writable
from gesso.cli.invocation import settings_of
from gesso.cli.output import AsJson, print_columns, print_json
from gesso.core.errors import UsageError

if TYPE_CHECKING:
    from PIL import Image
    from rich.progress import Progress

    from gesso.core.settings import Settings
    from gesso.primer.scene import Scene
    from gesso.training.primer.plan import TrainingPlan
    from gesso.training.primer.trainer import Tryout

app = typer.Typer(
    cls=Commands, help="The embedded model's world: prompts of it, scores, training.", no_args_is_help=False
)

Seed = Annotated[int, typer.Option(metavar="N", help="Where chance starts.")]
_SHOWN = 24


@app.command()
def world(
    count: Annotated[int | None, typer.Option(metavar="N", help="How many.", show_default=False)] = None,
    seed: Annotated[int | None, typer.Option(metavar="N", help="Where chance starts.", show_default=False)] = None,
    held_out: Annotated[bool, typer.Option("--held-out", help="Only such as training never shows.")] = False,
    show: Annotated[bool, typer.Option("--show", help="Draw them on a sheet and print where it is.")] = False,
    out: Annotated[Path, typer.Option(metavar="FILE", help="The sheet of `--show`.")] = Path("primer-world.png"),
    as_json: AsJson = False,
) -> None:
    """Print random prompts of the world, or draw them as they should be."""
    from random import Random

    from gesso.primer.caption import caption
    from gesso.primer.render import render
    from gesso.primer.scene import random_scene

    wanted = count if count is not None else (_SHOWN if show else 10)
    if wanted < 1:
        raise UsageError(f"`--count` must be at least 1 (found `{wanted}`)")
    rng = Random(seed)
    told: list[tuple[Scene, str, Image.Image | None]] = []
    for _ in range(wanted):
        scene = random_scene(rng, held_out=held_out)
        words = caption(scene, rng)
        told.append((scene, words, render(scene, rng) if show else None))
    if show:
        _write_sheet(out, [(picture, words) for _, words, picture in told if picture is not None])
    if as_json:
        print_json([_scene_entry(scene, words) for scene, words, _ in told])
    else:
        print(out if show else "\n".join(words for _, words, _ in told))


@app.command()
def evaluate(
    context: typer.Context,
    model: Annotated[
        str, typer.Option(metavar="NAME", help="A name from `gesso models list`, or a folder.")
    ] = "primer",
    prompts: Annotated[int, typer.Option(metavar="N", help="Held-out prompts, half of each kind.")] = 500,
    seed: Seed = 0,
    steps: Annotated[int, typer.Option(metavar="N", help="Sampling steps.")] = 20,
    guidance: Annotated[
        float | None, typer.Option(metavar="SCALE", help="By itself the model's own.", show_default=False)
    ] = None,
    device: Annotated[str | None, typer.Option(metavar="NAME", help="By itself the best.", show_default=False)] = None,
    as_json: AsJson = False,
) -> None:
    """Let a model draw prompts that it never saw, and count which of their facts its pictures show."""
    settings = settings_of(context)
    with _bar("pictures") as bar:
        from gesso.engine.evaluation import evaluate as evaluated
        from gesso.engine.studio import Studio

        task = bar.add_task("drawing", total=prompts)
        with Studio(settings) as studio:
            scores = evaluated(
                studio,
                model=model,
                prompts=prompts,
                seed=seed,
                steps=steps,
                guidance=guidance,
                device=device,
                watch=lambda done, total: bar.update(task, completed=done, total=total),
            )
    if as_json:
        print_json(scores)
        return
    kinds = list(dict.fromkeys(name for shares in scores.values() for name in shares))
    print_columns(
        ("right", *(name.replace("_", " ") for name in scores)),
        [(name.replace("_", " "), *(_share(name, shares.get(name)) for shares in scores.values())) for name in kinds],
    )


@app.command()
def scorer(
    context: typer.Context,
    count: Annotated[int, typer.Option(metavar="N", help="Pictures to read.")] = 500,
    seed: Seed = 0,
    vae: Annotated[bool, typer.Option("--vae", help="Send each picture through a VAE first.")] = False,
    model: Annotated[
        str | None, typer.Option(metavar="NAME", help="Whose VAE; by itself the primer's.", show_default=False)
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Try out the scorer on renders whose truth is known, and on prompts that were made wrong."""
    from gesso.primer.trial import SWAPPED_KINDS, try_scorer

    if count < 1:
        raise UsageError(f"`--count` must be at least 1 (found `{count}`)")
    if model is not None and not vae:
        raise UsageError("`--model` says whose VAE; it needs `--vae`")
    if vae:
        from gesso.cli.models import open_store
        from gesso.engine.evaluation import vae_round_trip

        folder = open_store(settings_of(context)).find(model or "primer").path
        trial = try_scorer(count, seed=seed, through=vae_round_trip(folder))
    else:
        trial = try_scorer(count, seed=seed)
    if as_json:
        print_json(trial.as_dict())
        return
    print(f"{trial.share_right:.2%} of {sum(trial.asked.values())} facts read rightly on {trial.pictures} pictures;")
    for things, name in ((1, "one thing"), (2, "two things")):
        print(f"all facts of {trial.whole[things]} of {trial.scenes[things]} pictures with {name}")
    print_columns(
        ("fact", "right", "read wrongly as, most often"),
        [
            (
                str(kind),
                f"{trial.right[kind] / number:.1%}",
                ", ".join(
                    f"{true} → {seen or 'unread'} ({times})"
                    for (of, true, seen), times in trial.mistaken.most_common()
                    if of is kind
                ),
            )
            for kind, number in trial.asked.items()
        ],
    )
    print()
    print_columns(
        ("made wrong in the prompt", "prompts", *(f"{kind} found wrong" for kind in SWAPPED_KINDS)),
        [
            (str(kind), str(trial.swapped[kind]), *(str(trial.swaps[kind, other]) for other in SWAPPED_KINDS))
            for kind in SWAPPED_KINDS
        ],
    )


@app.command()
def train(
    context: typer.Context,
    plan: Annotated[Path, typer.Argument(metavar="PLAN", help="A YAML file; `out: FOLDER` is the least.")],
) -> None:
    """Train the primer as a plan says, or go on where the last run of it stopped; print where the model is."""
    settings = settings_of(context)
    from gesso.training.primer.plan import read_plan

    checked = read_plan(plan)
    check_writable(checked.out)
    with _bar("steps") as bar:
        import torch

        from gesso.devices.choose import choose
        from gesso.devices.cpu import usable_cores
        from gesso.training.primer.trainer import Progress, train

        torch.set_num_threads(settings.threads or usable_cores())
        encoding = bar.add_task("encoding", total=checked.pictures)
        learning = bar.add_task("learning", total=checked.steps)

        def watch(news: Progress) -> None:
            bar.update(learning, completed=news.step, description=f"learning, loss {news.loss:.4f}")

        folder = train(
            checked,
            tryout=_tryout(checked, settings),
            watch=watch,
            encoding=lambda done: bar.update(encoding, completed=done),
            device=choose(settings.device).name,
        )
    print(folder)


def _tryout(plan: "TrainingPlan", settings: "Settings") -> "Tryout":
    """What the log tells of a model while it learns: its pictures of held-out prompts, or what its VAE leaves whole."""
    from gesso.training.primer.plan import Part

    count, seed = plan.validation.prompts, plan.validation.seed

    def drawn(folder: Path) -> dict[str, Any]:
        from gesso.engine.evaluation import evaluate as evaluated
        from gesso.engine.studio import Studio

        with Studio(settings) as studio:
            return evaluated(studio, model=str(folder), prompts=count, seed=seed)

    def kept_by_the_vae(folder: Path) -> dict[str, Any]:
        from gesso.engine.evaluation import vae_round_trip
        from gesso.primer.trial import try_scorer

        return try_scorer(count, seed=seed, through=vae_round_trip(folder)).shares()

    return drawn if plan.part is Part.DENOISER else kept_by_the_vae


def _bar(unit: str) -> "Progress":
    """A bar on stderr, gone when it is done."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn(unit),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
    )


def _share(name: str, value: float | None) -> str:
    if value is None:
        return ""
    return str(value) if name in {"pictures", "unreadable"} else f"{value:.1%}"


def _scene_entry(scene: "Scene", words: str) -> dict[str, Any]:
    return {
        "prompt": words,
        "background": scene.background,
        "relation": scene.relation,
        "things": [
            {"shape": thing.shape, "colour": thing.colour, "size": thing.size, "fill": thing.fill}
            for thing in scene.things
        ],
    }


def _write_sheet(out: Path, pictures: "list[tuple[Image.Image, str]]") -> None:
    from io import BytesIO

    from gesso.core.files import write_atomically
    from gesso.primer.sheet import sheet

    if out.suffix.lower() != ".png":
        raise UsageError(f"`--out {out}` must end in `.png`")
    data = BytesIO()
    sheet(pictures).save(data, format="PNG", optimize=True)
    write_atomically(out, data.getvalue())
