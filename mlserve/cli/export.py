"""``mlserve export``: any framework to ONNX, and the proof that both answer alike."""

from pathlib import Path
from typing import Annotated

import typer

from mlserve.cli.options import (
    ConfigFile,
    GroupRole,
    IgnoreExtra,
    JsonFlag,
    KeyRole,
    LabelRole,
    QuietFlag,
    TimeRole,
)
from mlserve.cli.output import Output


def export(
    source: Annotated[
        str,
        typer.Argument(
            metavar="SOURCE",
            help="A model file (.skops, .joblib, .pt2, .pt, .ubj, .onnx …), a folder, or MODULE:ATTRIBUTE.",
        ),
    ],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="OUT.onnx", help="Where the ONNX model goes.")],
    framework: Annotated[str, typer.Option(metavar="NAME", help="The framework of SOURCE; auto looks at it.")] = "auto",
    sample: Annotated[
        Path | None, typer.Option(metavar="DATA", help="Rows that both models must answer alike.")
    ] = None,
    rtol: Annotated[
        float | None, typer.Option(metavar="X", min=0, help="Relative tolerance; default is the setting export.rtol.")
    ] = None,
    atol: Annotated[
        float | None, typer.Option(metavar="X", min=0, help="Absolute tolerance; default is the setting export.atol.")
    ] = None,
    allow_mismatch: Annotated[
        int | None, typer.Option(metavar="N", min=0, help="So many rows may differ by more than the tolerance.")
    ] = None,
    opset: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Operator set of the ONNX domain; default export.opset.")
    ] = None,
    dynamic: Annotated[
        str | None,
        typer.Option(metavar="AXES", help="Axes of any length besides the batch, such as tokens:1=sequence."),
    ] = None,
    allow_pickle: Annotated[
        bool, typer.Option("--allow-pickle", help="Load pickles: code that the file's author chose, run as you.")
    ] = False,
    factory: Annotated[
        str | None,
        typer.Option(metavar="MODULE:FUNCTION", help="What builds the model of a SOURCE that holds weights only."),
    ] = None,
    task: Annotated[
        str | None, typer.Option(metavar="NAME", help="What a checkpoint is exported for, if not what its config says.")
    ] = None,
    text: Annotated[
        bool, typer.Option("--text", help="Put the checkpoint's tokenizer into the graph, which then takes text.")
    ] = False,
    label: LabelRole = "label",
    group: GroupRole = "group",
    key: KeyRole = "key",
    time: TimeRole = "time",
    ignore_extra: IgnoreExtra = False,
    config: ConfigFile = None,
    as_json: JsonFlag = False,
    quiet: QuietFlag = False,
) -> None:
    """Export a model to ONNX, and prove that it answers alike.

    Both models answer the sample; if they differ by more than the tolerance: exit 7, and nothing is written.
    """
    from mlserve import wiring
    from mlserve.export.exporting import export as run
    from mlserve.rows.reading import Roles

    out = Output.for_flags(json=as_json, quiet=quiet)
    flags = {
        "export.rtol": rtol,
        "export.atol": atol,
        "export.allow_mismatch": allow_mismatch,
        "export.opset": opset,
    }
    settings = wiring.settings_in_force(flags, config).settings
    with out.progress() as progress:
        report = run(
            source,
            output,
            framework=framework,
            sample=sample,
            rtol=settings.export.rtol,
            atol=settings.export.atol,
            allow_mismatch=settings.export.allow_mismatch,
            opset=settings.export.opset,
            dynamic=dynamic,
            allow_pickle=allow_pickle,
            factory=factory,
            task=task,
            text=text,
            roles=Roles(label=label, group=group, key=key, time=time),
            ignore_extra=ignore_extra,
            by=wiring.user_of(settings),
            now=wiring.now(),
            progress=progress,
        )
    parity = report.parity
    for note in report.notes:
        out.warn(note)
    figures = f"{parity.rows} rows compared, largest difference {parity.max_abs:.3g}"
    if report.passed:
        out.result(f"{report.framework} model exported to {output} ({figures})", report, made=str(output))
        out.hint(f"mlserve register NAME {output}")
        return
    out.result(f"{output} is not written: the answers differ ({figures})", report, good=False)
    for reason in report.reasons:
        out.detail(f"  {reason}")
    raise typer.Exit(7)
