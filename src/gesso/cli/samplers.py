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
    rows = [("default", "any", "", "", "", "", "the scheduler that the model came with")]
    for sampler in SAMPLERS.values():
        for kind, form in (("diffusion", sampler.diffusion), ("flow", sampler.flow)):
            if form is not None:
                schedules, aliases = ", ".join(_schedules(form)), ", ".join(_aliases(sampler, form))
                rows.append(
                    (
                        sampler.name,
                        kind,
                        str(sampler.order),
                        "yes" if sampler.stochastic else "no",
                        _takes(form),
                        schedules,
                        aliases,
                    )
                )
    print_columns(
        ("name", "models", "calls", "stochastic", "takes", "schedules, the automatic one first", "also known as"), rows
    )


def _aliases(sampler: "Sampler", form: "Form") -> list[str]:
    return [*sampler.aliases, *form.aliases, *([form.diffusers] if form.diffusers else ())]


def _schedules(form: "Form") -> list[str]:
    """The one that is taken if none is asked for comes first."""
    return list(dict.fromkeys((form.automatic, "automatic", *form.schedules)))


def _takes(form: "Form") -> str:
    """What of chance a request may set."""
    eta = [f"eta ({form.eta:g})"] if form.eta is not None else []
    return ", ".join([*eta, *(["s_churn"] if form.churn else ()), *(["s_noise"] if form.scales_noise else ())])


def _entry(sampler: "Sampler") -> dict[str, Any]:
    return {
        "name": sampler.name,
        "aliases": list(sampler.aliases),
        "order": sampler.order,
        "accuracy": sampler.accuracy,
        "stochastic": sampler.stochastic,
        "source": sampler.source,
        **{kind: _form_entry(form) for kind, form in (("diffusion", sampler.diffusion), ("flow", sampler.flow))},
    }


def _form_entry(form: "Form | None") -> dict[str, Any] | None:
    if form is None:
        return None
    return {
        "scheduler": form.class_name,
        "diffusers": form.diffusers,
        "aliases": list(form.aliases),
        "schedules": _schedules(form),
        "automatic": form.automatic,
        "eta": form.eta,
        "churn": form.churn,
        "scales_noise": form.scales_noise,
        "note": form.note,
    }
