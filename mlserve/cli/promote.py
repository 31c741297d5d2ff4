"""``mlserve promote``: another version stands in a stage, if the gates let it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from mlserve.cli.options import ConfigFile, JsonFlag, QuietFlag, Reason, Ref, RegistryUrl, ToStage, fraction
from mlserve.cli.output import Output

if TYPE_CHECKING:
    from mlserve.registry.records import Move


def promote(
    ref: Ref,
    to: ToStage,
    traffic: Annotated[
        str | None,
        typer.Option(metavar="SHARE", help="The challenger's share of requests, such as 5%; recorded with the stage."),
    ] = None,
    expect: Annotated[
        str | None,
        typer.Option(metavar="REF|none", help="Move only if this stands in the stage now; else exit 5."),
    ] = None,
    reason: Reason = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="List the gates, move nothing.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Skip the gates; needs --reason, is recorded.")] = False,
    wait: Annotated[bool, typer.Option("--wait", help="Return when every live server has swapped.")] = False,
    timeout: Annotated[
        float | None, typer.Option(metavar="S", min=0, help="Seconds that --wait may take; default 60.")
    ] = None,
    registry: RegistryUrl = None,
    config: ConfigFile = None,
    as_json: JsonFlag = False,
    quiet: QuietFlag = False,
) -> None:
    """Move a version into a stage, if the gates let it.

    The move is atomic. If a gate fails: exit 7 with each gate listed, and nothing moves.
    """
    from mlserve import wiring
    from mlserve.cli.moves import tell_move
    from mlserve.core.refs import parse_ref, parse_stage
    from mlserve.errors import UsageError
    from mlserve.registry.promoting import promote as run
    from mlserve.registry.records import parse_expect
    from mlserve.wiring.waiting import wait_until_swapped

    out = Output.for_flags(json=as_json, quiet=quiet)
    target, stage = parse_ref(ref), parse_stage(to)
    expected = parse_expect(expect) if expect is not None else None
    share = fraction(traffic, "--traffic")
    if force and not (reason or "").strip():
        raise UsageError("--force needs a reason", hint="--reason TEXT")
    if timeout is not None and not wait:
        raise UsageError(
            "--timeout is for --wait", hint=f"mlserve promote {ref} --to {to} --wait --timeout {timeout:g}"
        )
    with wiring.connect(config, registry=registry) as app:
        move = run(
            app.store,
            target,
            stage,
            by=app.user,
            now=app.clock(),
            expect=expected,
            traffic=share,
            reason=reason,
            dry_run=dry_run,
            force=force,
        )
        if wait and move.allowed and not dry_run:
            with out.progress() as progress:
                wait_until_swapped(
                    app, target.name, move, timeout_s=60.0 if timeout is None else timeout, progress=progress
                )
    tell_move(out, move, _sentence(move))


def _sentence(move: Move) -> str:
    instead = f" in place of {move.previous}" if move.previous not in (None, move.ref) else ""
    if not move.allowed:
        return f"{move.ref} may not enter {move.stage}{instead}"
    if move.dry_run and move.gates:
        return f"{move.ref} may enter {move.stage}{instead}"
    if not move.changed:
        return f"{move.ref} stands in {move.stage} already (generation {move.generation})"
    forced = ", forced" if move.forced else ""
    if move.previous == move.ref:
        share = f"{100 * (move.traffic or 0):g} % of the traffic"
        return f"{move.ref} stays in {move.stage}, now with {share} (generation {move.generation}{forced})"
    return f"{move.ref} is now in {move.stage}{instead} (generation {move.generation}{forced})"
