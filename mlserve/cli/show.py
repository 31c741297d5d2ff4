"""``mlserve show``: one version whole, evidence included."""

from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from mlserve.cli.figures import how_made, told
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
    from mlserve.wiring.reporting import describe, write_card

    out = Output.for_flags(json=as_json, quiet=quiet)
    target = parse_ref(ref)
    with wiring.connect(config, registry=registry) as app:
        document = describe(app, target)
        if report is not None:
            write_card(app, document, report)
    fields = {key: value for key, value in document.items() if key not in _APART}
    fields["parent"] = _parent(document)
    fields |= {
        "made": how_made({item["kind"]: item["figures"] for item in reversed(document["evidence"])}),
        "created_at": datetime.fromisoformat(document["created_at"]),
        "size_bytes": sum(entry["size_bytes"] for entry in document["files"]),
        "files": [entry["path"] for entry in document["files"]],
        "inputs": [_spec(spec) for spec in document["signature"]["inputs"]],
        "outputs": [_spec(spec) for spec in document["signature"]["outputs"]],
    }
    out.record(fields, document=document, made=str(report) if report else document["ref"])
    columns = ("kind", "passed", "figures", "origin", "measured_at", "measured_by")
    out.detail("")
    out.details(columns, [_evidence(item) for item in document["evidence"]])
    for failure in document["load_failures"]:
        out.warn(f"server {failure['host']} (process {failure['pid']}) could not load it: {failure['reason']}")
    if report is not None:
        out.hint(f"the card is in {report}")


_APART = ("name", "version", "signature", "files", "evidence", "load_failures")


def _parent(document: dict[str, Any]) -> str | None:
    """The parent; where none was recorded, the digest of what it was quantized from."""
    of = [item["figures"].get("parent") for item in document["evidence"] if item["kind"] == "quantization"]
    return document["parent"] or next(iter(of), None)


def _spec(spec: dict[str, Any]) -> str:
    dims = ", ".join("?" if dim is None else str(dim) for dim in spec["dims"])
    return f"{spec['name']}: {spec['datatype']}[{dims}]"


def _evidence(item: dict[str, Any]) -> dict[str, Any]:
    """One measurement in a line."""
    figures = told(item["kind"], item["figures"], passed=item["passed"])
    return item | {"figures": figures, "measured_at": datetime.fromisoformat(item["measured_at"])}
