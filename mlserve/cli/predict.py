"""``mlserve predict``: the answers of a version, a file or a server to rows."""

from pathlib import Path
from typing import Annotated

import typer

from mlserve.cli.completing import complete_ref
from mlserve.cli.options import (
    ApiKeyFile,
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
from mlserve.core.settings import Device


def predict(
    target: Annotated[
        str,
        typer.Argument(
            metavar="TARGET",
            help="A ref, an .onnx file, or a server's URL such as http://HOST:PORT/v2/models/NAME.",
            autocompletion=complete_ref,
        ),
    ],
    rows: Annotated[Path, typer.Argument(metavar="INPUT", help="The rows: .npz, .parquet, .csv, .json or .jsonl.")],
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", metavar="OUT", help="Write the outputs there: .npz, .parquet, .csv, .json, .jsonl."
        ),
    ] = None,
    device: Annotated[Device | None, typer.Option(help="Where a ref or a file is run; default auto.")] = None,
    api_key_file: ApiKeyFile = None,
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
    """Answer rows with a version, a file or a server.

    A version and a file are run in this process, a server is asked over HTTP.
    """
    from mlserve.rows.reading import Roles
    from mlserve.rows.writing import check_writable, write_outputs
    from mlserve.wiring.predicting import predict_rows

    out = Output.for_flags(json=as_json, quiet=quiet)
    if output is not None:
        check_writable(output, inputs=[rows])
    with out.progress() as progress:
        answers = predict_rows(
            target,
            rows,
            roles=Roles(label=label, group=group, key=key, time=time),
            ignore_extra=ignore_extra,
            api_key_file=api_key_file,
            flags={"serve.device": device, "registry": registry},
            config_file=config,
            progress=progress,
        )
    count = max((len(array) for array in answers.values() if array.ndim), default=0)
    if output is not None:
        write_outputs(output, answers)
        document = {"output": output, "rows": count, "outputs": list(answers)}
        out.result(f"{count} rows answered, written to {output}", document, made=str(output))
        return
    plain = {name: array.astype(float) if array.dtype.kind == "V" else array for name, array in answers.items()}
    table = [
        {name: array[row] if array.ndim else array[()] for name, array in plain.items()} for row in range(count or 1)
    ]
    out.table(list(plain), table, document=plain, made=[])
