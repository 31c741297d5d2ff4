"""``mlserve policy``: the gates that a stage demands."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mlserve.cli.options import ConfigFile, JsonFlag, Name, QuietFlag, RegistryUrl
from mlserve.cli.output import Output

if TYPE_CHECKING:
    from mlserve.registry.policies import Comparison, PolicyRevision, Requirement


def show(
    name: Name,
    registry: RegistryUrl = None,
    config: ConfigFile = None,
    as_json: JsonFlag = False,
    quiet: QuietFlag = False,
) -> None:
    """Show the policy of a model."""
    from mlserve import wiring
    from mlserve.core.refs import parse_name
    from mlserve.registry.policies import get_policy

    out = Output.for_flags(json=as_json, quiet=quiet)
    parse_name(name)
    with wiring.connect(config, registry=registry) as app:
        policy = get_policy(app.store, name)
    _tell(out, policy, f"policy of {name}" if policy.revision else f"{name} has no policy")


def set_(
    name: Name,
    file: Annotated[Path | None, typer.Argument(metavar="FILE", help="A TOML or JSON file; else stdin.")] = None,
    registry: RegistryUrl = None,
    config: ConfigFile = None,
    as_json: JsonFlag = False,
    quiet: QuietFlag = False,
) -> None:
    """Set the policy of a model from a file, or from stdin."""
    from mlserve import wiring
    from mlserve.core.refs import parse_name
    from mlserve.errors import UsageError
    from mlserve.registry.policies import parse_policy, set_policy
    from mlserve.wiring.texts import text_of

    out = Output.for_flags(json=as_json, quiet=quiet)
    parse_name(name)
    text = text_of(file)
    if file is None and not text.strip():
        raise UsageError(
            "stdin is empty, and an empty policy would demand nothing", hint=f"mlserve policy set {name} FILE"
        )
    policy = parse_policy(text)
    with wiring.connect(config, registry=registry) as app:
        kept = set_policy(app.store, name, policy, by=app.user, now=app.clock())
    _tell(out, kept, f"policy of {name} is set")


def _tell(out: Output, policy: PolicyRevision, sentence: str) -> None:
    rows = [
        {"stage": stage, "demand": words}
        for stage, demands in policy.policy.stages.items()
        for words in (*map(_required, demands.require), *map(_compared, demands.compare_with_production))
    ]
    if policy.revision:
        sentence += f" (revision {policy.revision})"
    if not rows:
        sentence += ": a version must load, and fit production's clients"
    out.result(sentence, policy, made=policy.name)
    out.details(("stage", "demand"), rows)


def _required(demand: Requirement) -> str:
    """One demand for evidence in words."""
    words = ["must have passed" if demand.passed else "must not have failed"]
    words += [f"{demand.figure} at least {demand.min:g}"] if demand.min is not None else []
    words += [f"{demand.figure} at most {demand.max:g}"] if demand.max is not None else []
    words += [f"at most {demand.max_age} old"] if demand.max_age is not None else []
    words += [] if demand.imported else ["measured by this registry's own commands"]
    return f"{demand.kind}: {', '.join(words)}"


def _compared(demand: Comparison) -> str:
    """One comparison with production in words."""
    bound = f"may drop by {demand.max_drop:g}" if demand.max_drop is not None else f"must gain {demand.min_gain or 0:g}"
    sense = " (lower is better)" if demand.lower_is_better else ""
    return f"{demand.metric}{sense}: {bound} against production"
