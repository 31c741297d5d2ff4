"""``mlserve drift``: whether what a model is asked still looks as it did when the model was right."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mlserve.cli.options import (
    ConfigFile,
    GroupRole,
    IgnoreExtra,
    JsonFlag,
    KeyRole,
    LabelRole,
    Name,
    QuietFlag,
    Reason,
    Ref,
    RegistryUrl,
    TimeRole,
)
from mlserve.cli.output import Output

ACTION_FAILED = 7

if TYPE_CHECKING:
    from mlserve.drift.said import Said
    from mlserve.rows.reading import Roles


def fit(
    ref: Ref,
    reference: Annotated[
        Path, typer.Option(metavar="DATA", help="Rows as they were when the model was right: a data file or a capture.")
    ],
    schema: Annotated[
        str | None,
        typer.Option(metavar="auto|FILE", help="A TOML file that names features, kinds and bounds; default auto."),
    ] = None,
    detector: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="A detector for the checks; may be repeated. Else by type and size."),
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
    """Learn how the reference of a version looks, for later checks to be held against.

    The profile is kept beside the version; the same data and schema again are the same profile.
    """
    from mlserve import wiring
    from mlserve.core.refs import parse_ref
    from mlserve.drift.detectors.choosing import check_names
    from mlserve.drift.said import Said, read_said
    from mlserve.wiring.drifting import SHOWN_ROWS, fit_version

    out = Output.for_flags(json=as_json, quiet=quiet)
    parsed = parse_ref(ref)
    said = Said() if schema in (None, "auto") else read_said(Path(schema))
    roles = _roles(said, label=label, group=group, key=key, time=time)
    detectors = check_names(detector or ())
    with wiring.connect(config, registry=registry) as app, out.progress() as progress:
        done = fit_version(
            app,
            parsed,
            reference,
            said=said,
            roles=roles,
            detectors=detectors,
            ignore_extra=ignore_extra,
            registry=registry,
            config_file=config,
            progress=progress,
        )
    document = done.to_dict()
    news = "has a new drift profile" if done.created else "has this drift profile already"
    rows = document["reference"]["rows"]
    out.result(
        f"{done.ref} {news}, of {rows} rows ({done.recorded.profile_digest[:19]}…)",
        document,
        made=done.recorded.profile_digest,
    )
    columns = ("name", "kind", "nulls", "mean", "p05", "p50", "p95", "values", "top", "threshold")
    out.details(columns, [_line(feature) for feature in document["features"]])
    out.detail(f"threshold: the effect that a window of {SHOWN_ROWS} rows must reach to be called drift")


def act(
    ref: Ref,
    wait: Annotated[
        float | None, typer.Option(metavar="S", min=0, help="Seconds to wait for a check that is running; else exit 5.")
    ] = None,
    registry: RegistryUrl = None,
    config: ConfigFile = None,
    as_json: JsonFlag = False,
    quiet: QuietFlag = False,
) -> None:
    """Do what is still due after the last check of a version: it waited for quiet hours to end, or failed.

    What was done already is not done again. Exit 7 if something failed.
    """
    from mlserve import wiring
    from mlserve.core.refs import parse_ref
    from mlserve.wiring.drift_acting import act_on_last_run

    out = Output.for_flags(json=as_json, quiet=quiet)
    with wiring.connect(config, registry=registry) as app:
        acted = act_on_last_run(app, parse_ref(ref), config_file=config, wait_s=wait or 0.0)
    count = len(acted.actions)
    said = f"{count} action{'s' if count != 1 else ''}" if count else "nothing to do"
    out.result(f"{acted.ref}: {said} after its last check ({acted.verdict})", acted, good=not acted.failed)
    out.details(("action", "state", "detail"), acted.actions)
    if acted.failed:
        raise typer.Exit(ACTION_FAILED)


def install(
    ref: Ref,
    options: Annotated[
        list[str] | None, typer.Argument(metavar="-- [OPTIONS]", help="Options of drift check, after two hyphens.")
    ] = None,
    cron: Annotated[bool, typer.Option("--cron", help="Lines for crontab -e.")] = False,
    systemd: Annotated[bool, typer.Option("--systemd", help="A service and a timer.")] = False,
    k8s: Annotated[bool, typer.Option("--k8s", help="A CronJob for Kubernetes.")] = False,
    every: Annotated[
        str | None, typer.Option(metavar="TIME", help="How often: 15m, 1h, 6h, 1d (unless said), 7d.")
    ] = None,
    at: Annotated[
        str | None, typer.Option(metavar="HH:MM", help="When; else a minute by night that comes of the name.")
    ] = None,
    env_file: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="What holds secrets as NAME=value where it runs; else /etc/mlserve/env."),
    ] = None,
    image: Annotated[str | None, typer.Option(metavar="IMAGE", help="With --k8s: an image that has mlserve.")] = None,
    registry: RegistryUrl = None,
    config: ConfigFile = None,
    as_json: JsonFlag = False,
    quiet: QuietFlag = False,
) -> None:
    """Print what runs a check again and again: for cron, systemd or Kubernetes. Nothing is installed.

    It runs this interpreter in this folder, with --window since-last and --timeout 3600 unless said otherwise. Checks
    take turns in the registry, so several hosts may run the same. Passwords are left to a file of the environment.
    """
    from mlserve.core.refs import parse_ref
    from mlserve.errors import UsageError
    from mlserve.wiring.connecting import now, settings_in_force
    from mlserve.wiring.drift_installing import units_of

    out = Output.for_flags(json=as_json, quiet=quiet)
    kinds = {"cron": cron, "systemd": systemd, "k8s": k8s}
    if sum(kinds.values()) != 1:
        raise UsageError("drift install prints one kind of unit", hint="--cron, --systemd or --k8s")
    parse_ref(ref)
    _check_words([ref, *(options or ())])
    units = units_of(
        "cron" if cron else "systemd" if systemd else "k8s",
        ref,
        options or (),
        settings_in_force({"registry": registry}, config),
        every=every,
        at=at,
        registry=registry,
        config_file=config,
        env_file=env_file,
        image=image,
        now=now(),
    )
    text = "\n".join(unit.text if len(units) == 1 else f"# {unit.path}\n{unit.text}" for unit in units)
    document = {"ref": ref, "units": [{"path": unit.path, "text": unit.text} for unit in units]}
    out.event(text.rstrip("\n"), document, made=text.rstrip("\n"))


def _check_words(words: list[str]) -> None:
    """Nothing if ``drift check`` takes these words. Raises its own complaint."""
    from mlserve.cli.app import commands

    check = commands().commands["drift"].commands.get("check")  # type: ignore[attr-defined]  # a group of commands
    if check is not None:
        check.make_context("mlserve drift check", list(words))


def thaw(
    name: Name,
    reason: Reason = None,
    registry: RegistryUrl = None,
    config: ConfigFile = None,
    as_json: JsonFlag = False,
    quiet: QuietFlag = False,
) -> None:
    """Let promotions to production go on that a drift check has frozen."""
    from mlserve import wiring
    from mlserve.core.refs import parse_name
    from mlserve.registry.freezing import thaw as run

    out = Output.for_flags(json=as_json, quiet=quiet)
    parse_name(name)
    with wiring.connect(config, registry=registry) as app:
        freeze = run(app.store, name, reason=reason, by=app.user, now=app.clock())
    said = "may be promoted to production again" if freeze.changed else "is not frozen"
    out.result(f"{name} {said}", freeze, made=name if freeze.changed else None)


def _line(feature: dict[str, Any]) -> dict[str, Any]:
    shown = {name: _rounded(value) for name, value in feature.items()}
    return shown | {"top": ", ".join(feature["top"]) if "top" in feature else None}


def _rounded(value: Any) -> Any:
    return f"{value:.4g}" if isinstance(value, float) else value


def _roles(said: Said, **flags: str) -> Roles:
    """The columns that play a role: by flag, else as the schema file says, else by the usual name."""
    from mlserve.rows.reading import Roles

    usual = Roles()
    chosen = {
        role: name if name != getattr(usual, role) else getattr(said, role) or name for role, name in flags.items()
    }
    return Roles(**chosen)
