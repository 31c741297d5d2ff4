"""``mlserve show``: one version whole, evidence included."""

from pathlib import Path
from typing import Annotated

import typer

from mlserve.cli.options import ConfigFile, JsonFlag, QuietFlag, Ref, RegistryUrl
from mlserve.cli.output import Output


def show(
    ref: Ref,
    report: Annotated[
        Path | None, typer.Option(metavar="FILE.html", help="Write the version's card as one HTML file too.")
    ] = None,
    registry: RegistryUrl = None,
    config: ConfigFile = None,
    as_json: JsonFlag = False,
    quiet: QuietFlag = False,
) -> None:
    """Show one version whole, evidence included."""
    from mlserve import wiring
    from mlserve.core.refs import parse_ref
    from mlserve.registry.evidencing import evidence_of
    from mlserve.registry.versions import get_version

    out = Output.for_flags(json=as_json, quiet=quiet)
    target = parse_ref(ref)
    with wiring.connect(config, registry=registry) as app:
        version = get_version(app.store, target)
        evidence = evidence_of(app.store, version.digest)
    document = {**version.to_dict(), "evidence": [item.to_dict() for item in evidence]}
    if report is not None:
        from mlserve.wiring.reporting import write_card

        write_card(report, document)
    fields = {
        **{
            key: value
            for key, value in document.items()
            if key not in ("name", "version", "signature", "files", "evidence")
        },
        "created_at": version.created_at,
        "size_bytes": version.manifest.size_bytes,
        "files": [entry.path for entry in version.files],
        "inputs": [_spec(spec) for spec in document["signature"]["inputs"]],
        "outputs": [_spec(spec) for spec in document["signature"]["outputs"]],
    }
    out.record(fields, document=document, made=str(report) if report else version.ref)
    columns = ("evidence", "passed", "figures", "origin", "measured_at", "measured_by")
    rows = [
        {"evidence": item.kind, "figures": _short(item.figures), **_fields(item, columns[3:]), "passed": item.passed}
        for item in evidence
    ]
    out.detail("")
    out.details(columns, rows)
    if report is not None:
        out.hint(f"the card is in {report}")


_WORDS = ("exactness", "provider", "metric", "method", "framework")
"""Figures of a word or two; longer texts are for --json."""


def _spec(spec: dict[str, object]) -> str:
    dims = spec["dims"]
    assert isinstance(dims, list)
    return f"{spec['name']}: {spec['datatype']}[{', '.join('?' if dim is None else str(dim) for dim in dims)}]"


def _short(figures: object) -> str:
    """The plain figures; nested ones and long texts are for --json."""
    assert hasattr(figures, "items")
    from mlserve.cli.rendering import cell

    plain = {key: value for key, value in figures.items() if isinstance(value, (bool, int, float)) or key in _WORDS}
    return cell(plain)


def _fields(item: object, names: tuple[str, ...]) -> dict[str, object]:
    return {name: getattr(item, name) for name in names}
