"""``mlserve compose``: several graphs joined into one."""

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
    RegistryUrl,
    TimeRole,
)
from mlserve.cli.output import Output


def compose(
    models: Annotated[
        list[str], typer.Argument(metavar="MODEL…", help="Files or refs, in the order in which they run; two at least.")
    ],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="OUT.onnx", help="Where the joined model goes.")],
    map_: Annotated[
        list[str] | None, typer.Option("--map", metavar="OUT=IN", help="An output and the input it feeds; repeatable.")
    ] = None,
    sample: Annotated[
        Path | None, typer.Option(metavar="DATA", help="Rows that the joined model must answer as the models do.")
    ] = None,
    rtol: Annotated[
        float | None, typer.Option(metavar="X", help="Relative tolerance; default is the setting export.rtol.")
    ] = None,
    atol: Annotated[
        float | None, typer.Option(metavar="X", help="Absolute tolerance; default is the setting export.atol.")
    ] = None,
    label: LabelRole = "label",
    group: GroupRole = "group",
    key: KeyRole = "key",
    time: TimeRole = "time",
    ignore_extra: IgnoreExtra = False,
    registry: RegistryUrl = None,
    config: ConfigFile = None,
    as_json: JsonFlag = False,
    quiet: QuietFlag = False,
) -> None:
    """Join preprocessing, model and postprocessing into one graph.

    The joined graph and the models one after the other answer the sample; if they differ: exit 7, nothing written.
    """
    from contextlib import ExitStack

    from mlserve import wiring
    from mlserve.export.composing import compose_files
    from mlserve.rows.reading import Roles
    from mlserve.wiring.predicting import model_file

    out = Output.for_flags(json=as_json, quiet=quiet)
    flags = {"export.rtol": rtol, "export.atol": atol, "registry": registry}
    settings = wiring.settings_in_force(flags, config).settings
    with ExitStack() as stack:
        paths = [stack.enter_context(model_file(model, flags=flags, config_file=config))[0] for model in models]
        progress = stack.enter_context(out.progress())
        report = compose_files(
            paths,
            output,
            mapping=_mapping(map_ or []),
            sample=sample,
            rtol=settings.export.rtol,
            atol=settings.export.atol,
            roles=Roles(label=label, group=group, key=key, time=time),
            ignore_extra=ignore_extra,
            by=wiring.user_of(settings),
            now=wiring.now(),
            progress=progress,
        )
    for note in report.notes:
        out.warn(note)
    figures = f"{report.parity.rows} rows compared, largest difference {report.parity.max_abs:.3g}"
    if report.passed:
        out.result(f"{len(models)} models joined into {output} ({figures})", report, made=str(output))
        for seam in report.seams:
            out.detail(f"  {seam}")
        out.hint(f"mlserve register NAME {output}")
        return
    out.result(f"{output} is not written: the answers differ ({figures})", report, good=False)
    for reason in report.reasons:
        out.detail(f"  {reason}")
    raise typer.Exit(7)


def _mapping(words: list[str]) -> dict[str, str]:
    """``OUT=IN`` as output → input. Raises BadParameter."""
    mapping: dict[str, str] = {}
    for word in words:
        output, equals, target = word.partition("=")
        if not equals or not output or not target or output in mapping:
            raise typer.BadParameter(f"'{word}' is no OUTPUT=INPUT, or its output comes twice", param_hint="'--map'")
        mapping[output] = target
    return mapping
