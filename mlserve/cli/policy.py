"""``mlserve policy``: the gates that a stage demands."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mlserve.cli.options import ConfigFile, JsonFlag, Name, QuietFlag, RegistryUrl
from mlserve.cli.output import Output

if TYPE_CHECKING:
    from mlserve.registry.policies import PolicyRevision


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
    from mlserve.registry.policies import parse_policy, set_policy
    from mlserve.wiring.texts import text_of

    out = Output.for_flags(json=as_json, quiet=quiet)
    policy = parse_policy(text_of(file))
    parse_name(name)
    with wiring.connect(config, registry=registry) as app:
        kept = set_policy(app.store, name, policy, by=app.user, now=app.clock())
    _tell(out, kept, f"policy of {name} is set")


def _tell(out: Output, policy: PolicyRevision, sentence: str) -> None:
    number = (
        f" (revision {policy.revision})" if policy.revision else ": a version must load, and fit production's clients"
    )
    out.result(sentence + number, policy, made=policy.name)
    rows = [
        {"stage": stage, "demand": demand, **{key: value for key, value in fields.items() if value is not None}}
        for stage, demands in policy.policy.to_dict().items()
        for demand, many in demands.items()
        for fields in (many if isinstance(many, (list, tuple)) else ())
    ]
    columns = list(dict.fromkeys(key for row in rows for key in row))
    out.details(columns, rows)
