"""The ``mlserve`` command: the table of commands, and the one place where errors become messages and exit codes."""

from __future__ import annotations

import errno
import io
import sys
import warnings
from collections.abc import Callable, Sequence
from functools import cache
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from mlserve.cli import (
    archive,
    bench,
    compose,
    config,
    conform,
    db,
    diff,
    doctor,
    drift,
    drift_check,
    export,
    failing,
    history,
    init,
    keys,
    lineage,
    listing,
    outcome,
    policy,
    predict,
    promote,
    quantize,
    register,
    replay,
    rollback,
    serve,
    show,
    tag,
    top,
    traffic,
    tune,
    what_served,
    withdraw,
)
from mlserve.cli.output import BROKEN_PIPE, unwritten
from mlserve.cli.terminal import stand_in_for_closed_streams
from mlserve.core.refs import did_you_mean
from mlserve.core.settings import current_env
from mlserve.errors import UsageError


def main(argv: Sequence[str] | None = None) -> int:
    """Run one call and return its exit code; ``argv`` without the program's name, None for the process's own."""
    words = list(sys.argv[1:] if argv is None else argv)
    as_json = "--json" in words
    stand_in_for_closed_streams()
    _never_fail_on_encoding()
    try:
        with warnings.catch_warnings():
            warnings.showwarning = _show_nothing if as_json else _show_warning
            code = _called(words)
        if code == failing.INTERRUPTED:  # typer's own mapping of Ctrl-C
            raise failing.Interrupted("interrupted")
        return int(code or 0)
    except typer.TyperException as error:
        return failing.tell(failing.usage_error(error), as_json=as_json, env=current_env())
    except (KeyboardInterrupt, typer.Abort):
        return failing.tell(failing.Interrupted("interrupted"), as_json=as_json, env=current_env())
    except Exception as error:  # the one place that turns errors into words
        return failing.tell(error, as_json=as_json, env=current_env())


def _called(words: list[str]) -> Any:
    """The exit code of one call, None for 0; help that nobody takes is as an answer that nobody takes."""
    try:
        return commands().main(words, prog_name="mlserve", standalone_mode=False)
    except SystemExit as ended:  # typer's own mapping of a reader that went away
        if not isinstance(ended.__context__, BrokenPipeError):
            raise
        return BROKEN_PIPE
    except OSError as error:
        if error.errno != errno.ENOSPC or error.filename is not None:
            raise
        raise unwritten(error) from error


class Commands(TyperGroup):
    """A group of commands that knows what a mistyped one was meant to be."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        word = args[0]
        if word not in self.commands and not word.startswith("-"):
            raise UsageError(
                f"no command '{ctx.command_path} {word}'",
                hint=did_you_mean(word, self.commands) or f"{ctx.command_path} --help",
            )
        return super().resolve_command(ctx, args)


class OneCommand(TyperCommand):
    """A command whose usage line says REF, where typer would say {REF}."""

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        return [piece.translate({ord("{"): None, ord("}"): None}) for piece in super().collect_usage_pieces(ctx)]


@cache
def commands() -> TyperGroup:
    """The whole tree of commands."""
    root = _group(
        "mlserve serve model.onnx", "Take a model from a training framework to production, and keep it honest."
    )
    root.callback()(_mlserve)

    _add(root, init.init, "mlserve init fraud-demo")
    _add(root, doctor.doctor, "mlserve doctor")
    root.add_typer(_config(), name="config")
    _add(root, export.export, "mlserve export model.joblib -o fraud.onnx --sample test.npz --allow-pickle")
    _add(root, compose.compose, "mlserve compose tokenize.onnx model.onnx -o whole.onnx --map ids=input_ids")
    _add(root, conform.conform, "mlserve conform http://127.0.0.1:8000 --grpc 127.0.0.1:8001")
    _add(root, quantize.quantize, "mlserve quantize fraud:2 -o fraud-int8.onnx --to int8-dynamic --evaluate test.npz")
    _add(root, register.register, "mlserve register fraud fraud.onnx --metric auc=0.991 --data s3://lake/fraud.parquet")
    _add(root, listing.list_, "mlserve list fraud --where 'metric.auc > 0.98 and state = ready'", name="list")
    _add(root, show.show, "mlserve show fraud@production")
    _add(root, diff.diff, "mlserve diff fraud:1 fraud:2")
    _add(root, history.history, "mlserve history fraud")
    _add(root, what_served.what_served, "mlserve what-served fraud --at 2026-03-01T12:00:00Z")
    _add(root, lineage.lineage, "mlserve lineage fraud@production")
    _add(root, tag.tag, "mlserve tag fraud:2 team=risk reviewed=yes")
    _add(root, archive.archive, "mlserve archive fraud:1")
    _add(root, archive.unarchive, "mlserve unarchive fraud:1")
    root.add_typer(_policy(), name="policy")
    _add(root, promote.promote, "mlserve promote fraud:2 --to production --expect fraud:1 --reason 'better recall'")
    _add(root, rollback.rollback, "mlserve rollback fraud --reason 'false alarms since noon'")
    _add(root, withdraw.withdraw, "mlserve withdraw fraud@challenger")
    _add(root, serve.serve, "mlserve serve fraud --port 8000")
    root.add_typer(_keys(), name="keys")
    root.add_typer(_traffic(), name="traffic")
    root.add_typer(_drift(), name="drift")
    _add(root, outcome.outcome, "mlserve outcome fraud labels.csv --label is_fraud --horizon 30d")
    _add(root, top.top, "mlserve top http://127.0.0.1:8000 --interval 2")
    _add(root, predict.predict, "mlserve predict http://127.0.0.1:8000/v2/models/fraud test.npz -o scores.parquet")
    _add(root, replay.replay, "mlserve replay capture/fraud --against fraud:3 --fail-on 'agreement<0.995'")
    _add(root, bench.bench, "mlserve bench http://127.0.0.1:8000/v2/models/fraud --concurrency 1,8,64 --slo p99=50ms")
    _add(root, tune.tune, "mlserve tune fraud:2 --slo p99=20ms --budget 60s")
    root.add_typer(_db(), name="db")
    group = typer.main.get_command(root)
    assert isinstance(group, TyperGroup)
    return group


def _config() -> typer.Typer:
    group = _group("mlserve config show", "Settings and where they come from.")
    _add(group, config.show, "mlserve config show")
    return group


def _keys() -> typer.Typer:
    group = _group("mlserve keys list --file keys.txt", "API keys that a server takes.")
    _add(group, keys.add, "mlserve keys add billing --scope infer --file keys.txt")
    _add(group, keys.list_, "mlserve keys list --file keys.txt", name="list")
    _add(group, keys.remove, "mlserve keys remove billing --file keys.txt")
    return group


def _traffic() -> typer.Typer:
    group = _group("mlserve traffic list capture", "Captures: what was asked and answered.")
    _add(group, traffic.list_, "mlserve traffic list capture", name="list")
    _add(group, traffic.cat, "mlserve traffic cat capture/fraud --limit 3")
    _add(group, traffic.stats, "mlserve traffic stats capture/fraud")
    _add(group, traffic.compact, "mlserve traffic compact capture")
    _add(group, traffic.erase, "mlserve traffic erase capture --unit customer-17")
    return group


def _drift() -> typer.Typer:
    group = _group("mlserve drift fit fraud:2 --reference train.parquet", "Drift: is the world still as it was?")
    _add(group, drift.fit, "mlserve drift fit fraud:2 --reference train.parquet --label is_fraud")
    _add(group, drift_check.check, "mlserve drift check fraud@production --window 24h --fail-on warn")
    _add(group, drift.install, "mlserve drift install fraud --cron --at 03:30 -- --fail-on critical")
    _add(group, drift.act, "mlserve drift act fraud@production")
    _add(group, drift.thaw, "mlserve drift thaw fraud --reason 'fraud:4 was trained on the new prices'")
    return group


def _policy() -> typer.Typer:
    group = _group("mlserve policy show fraud", "The gates that a promotion must pass.")
    _add(group, policy.show, "mlserve policy show fraud")
    _add(group, policy.set_, "mlserve policy set fraud policy.toml", name="set")
    return group


def _db() -> typer.Typer:
    group = _group("mlserve db check", "Migrations of the registry's schema.")
    _add(group, db.upgrade, "mlserve db upgrade")
    _add(group, db.current, "mlserve db current")
    _add(group, db.check, "mlserve db check")
    _add(group, db.backup, "mlserve db backup registry-2026-11-21.db")
    return group


def _group(example: str, about: str) -> typer.Typer:
    group = typer.Typer(
        cls=Commands,
        help=about,
        epilog=_epilog(example),
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        invoke_without_command=True,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    group.callback()(_help_of_a_group)
    return group


def _add(group: typer.Typer, function: Callable[..., Any], example: str, *, name: str | None = None) -> None:
    group.command(name, cls=OneCommand, epilog=_epilog(example))(function)


def _epilog(example: str) -> str:
    return f"\b\nExample:\n  {example}"  # \b: not to be wrapped, so that it can be copied


def _mlserve(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version of mlserve.")] = False,
) -> None:
    """``mlserve`` without a command."""
    if version:
        from mlserve import __version__

        typer.echo(f"mlserve {__version__}")
        raise typer.Exit
    _help_of_a_group(context)


def _help_of_a_group(context: typer.Context) -> None:
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


def _never_fail_on_encoding() -> None:
    """A name that the terminal's encoding lacks is printed with a replacement instead of a traceback."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


def _show_warning(message: Warning | str, category: type[Warning], *_: object, **__: object) -> None:
    """A library's warning as one line, without the line of code that gave it."""
    first, *_rest = str(message).strip().splitlines() or [category.__name__]
    print(f"warning: {first}", file=sys.stderr)


def _show_nothing(*_: object, **__: object) -> None:
    """With --json, stderr is for the error's document alone."""
