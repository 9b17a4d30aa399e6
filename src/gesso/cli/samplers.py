"""`gesso samplers`: which samplers there are, on which models they run, and under which names."""

from typing import TYPE_CHECKING, Any

from gesso.cli.output import AsJson, print_columns, print_json

if TYPE_CHECKING:
    from gesso.engine.samplers.table import Form, Sampler


def samplers(as_json: AsJson = False) -> None:
    """List the samplers, their schedules and their other names."""
    from gesso.engine.samplers.table import SAMPLERS

    if as_json:
        print_json([_entry(sampler) for sampler in SAMPLERS.values()])
        return
    rows = [("default", "any", "", "the scheduler that the model came with")]
    for sampler in SAMPLERS.values():
        for kind, form in (("diffusion", sampler.diffusion), ("flow", sampler.flow)):
            if form is not None:
                rows.append((sampler.name, kind, ", ".join(_schedules(form)), ", ".join(_aliases(sampler, form))))
    print_columns(("name", "models", "schedules, the automatic one first", "also known as"), rows)


def _aliases(sampler: "Sampler", form: "Form") -> list[str]:
    return [*sampler.aliases, *form.aliases, form.class_name]


def _schedules(form: "Form") -> list[str]:
    """The one that is taken if none is asked for comes first."""
    return list(dict.fromkeys((form.automatic, "automatic", *form.schedules)))


def _entry(sampler: "Sampler") -> dict[str, Any]:
    return {
        "name": sampler.name,
        "aliases": list(sampler.aliases),
        "order": sampler.order,
        "stochastic": sampler.stochastic,
        "source": sampler.source,
        **{kind: _form_entry(form) for kind, form in (("diffusion", sampler.diffusion), ("flow", sampler.flow))},
    }


def _form_entry(form: "Form | None") -> dict[str, Any] | None:
    if form is None:
        return None
    return {
        "scheduler": form.class_name,
        "aliases": list(form.aliases),
        "schedules": _schedules(form),
        "automatic": form.automatic,
    }
