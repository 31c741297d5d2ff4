"""How a call that failed is told: a sentence and a hint for a person, one JSON document for a script, on stderr."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Mapping
from typing import Any, TextIO

import typer

from mlserve.cli.documents import to_json
from mlserve.cli.terminal import is_ascii_only, is_styled, say, styled
from mlserve.errors import MlserveError, UsageError

INTERRUPTED = 130
BUG = 1


class Interrupted(MlserveError):
    """Ctrl-C."""

    exit_code = INTERRUPTED


def usage_error(error: typer.TyperException) -> UsageError:
    """What the parser complains of, in our words: lower case, no full stop, the nearest option or the help as hint."""
    context = getattr(error, "ctx", None)
    near = getattr(error, "possibilities", None)
    message = " ".join((error.message if near else error.format_message()).split()).rstrip(".")
    message = message.replace(": Value error, ", ": ").replace(": Input should be ", ": it should be ")
    command = context.command_path if context is not None else "mlserve"
    hint = f"did you mean '{near[0]}'?" if near else f"{command} --help"
    return UsageError(message[:1].lower() + message[1:], hint=hint)


def document(error: BaseException) -> dict[str, Any]:
    """The error as the contract's document. A bug's traceback goes along."""
    if isinstance(error, MlserveError):
        kind = {"code": error.exit_code, "type": type(error).__name__, "message": error.message, "hint": error.hint}
        return {"error": kind}
    lines = traceback.format_exception(error)
    message = f"{type(error).__name__}: {error}"
    return {"error": {"code": BUG, "type": "Bug", "message": message, "hint": None, "traceback": lines}}


def tell(error: BaseException, *, as_json: bool, env: Mapping[str, str], file: TextIO | None = None) -> int:
    """Print ``error`` and return the exit code it stands for."""
    file = file or sys.stderr
    code = error.exit_code if isinstance(error, MlserveError) else BUG
    if as_json:
        say(to_json(document(error), ascii_only=is_ascii_only(file)), file)
        return code
    on = is_styled(file, env)
    if isinstance(error, MlserveError):
        say(f"{styled('error', 'error', on=on)}: {error.message}", file)
        if error.hint:
            say(f"{styled('hint', 'hint', on=on)}: {error.hint}", file)
    else:
        say("".join(traceback.format_exception(error)).rstrip(), file)
        say(f"{styled('error', 'error', on=on)}: this is a bug in mlserve", file)
    return code
