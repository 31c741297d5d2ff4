"""``mlserve diff``: what differs between two versions."""

from typing import Annotated, Any

import typer

from mlserve.cli.completing import complete_ref
from mlserve.cli.options import ConfigFile, JsonFlag, QuietFlag, RegistryUrl
from mlserve.cli.output import Output


def diff(
    a: Annotated[str, typer.Argument(metavar="REF", help="The older version.", autocompletion=complete_ref)],
    b: Annotated[str, typer.Argument(metavar="REF", help="The newer version.", autocompletion=complete_ref)],
    registry: RegistryUrl = None,
    config: ConfigFile = None,
    as_json: JsonFlag = False,
    quiet: QuietFlag = False,
) -> None:
    """Show what differs between two versions."""
    from mlserve import wiring
    from mlserve.core.refs import parse_ref
    from mlserve.registry.versions import diff as differences

    out = Output.for_flags(json=as_json, quiet=quiet)
    older, newer = parse_ref(a), parse_ref(b)
    with wiring.connect(config, registry=registry) as app:
        found = differences(app.store, older, newer)
    rows: list[dict[str, Any]] = []
    for section in ("fields", "metrics", "params", "tags", "files"):
        prefix = "" if section == "fields" else f"{section}."
        rows += [
            {"what": prefix + name, found.a: _short(pair[0]), found.b: _short(pair[1])}
            for name, pair in getattr(found, section).items()
        ]
    if rows or out.mode != "human":
        out.table(("what", found.a, found.b), rows, document=found, made=[row["what"] for row in rows])
    if found.incompatible:
        out.detail(f"clients of {found.a} could not be answered by {found.b}: {'; '.join(found.incompatible)}")
    if found.same_bytes:
        out.detail("both have the same bytes" if rows else f"{found.a} and {found.b} do not differ")


def _short(value: Any) -> Any:
    """A digest by its beginning; --json has it whole."""
    return f"{value[:19]}…" if isinstance(value, str) and value.startswith("sha256:") else value
