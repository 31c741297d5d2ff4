"""``mlserve init``: a project with its registry."""

from pathlib import Path
from typing import Annotated

import typer

from mlserve.cli.options import JsonFlag, QuietFlag, RegistryUrl
from mlserve.cli.output import Output


def init(
    folder: Annotated[
        Path, typer.Argument(metavar="DIR", help="The project's folder, made if it is not there.")
    ] = Path(),
    registry: RegistryUrl = None,
    as_json: JsonFlag = False,
    quiet: QuietFlag = False,
) -> None:
    """Make a project: settings, home and registry.

    Writes mlserve.toml and .mlserve/, and the registry's schema; what is there already is kept.
    """
    from mlserve.core.settings import current_env
    from mlserve.wiring.starting import start_project

    out = Output.for_flags(json=as_json, quiet=quiet)
    project = start_project(folder, env=current_env(), registry=registry)
    done = "made" if project.created else "is there already"
    out.result(
        f"project {done}: {project.home}",
        {"home": project.home, "registry": project.registry, "created": project.created},
        made=str(project.home),
    )
    out.hint("mlserve register NAME MODEL.onnx")
