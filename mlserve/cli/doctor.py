"""``mlserve doctor``: what works on this machine, and what does not."""

from mlserve.cli.options import ConfigFile, JsonFlag, QuietFlag, RegistryUrl
from mlserve.cli.output import Output


def doctor(
    registry: RegistryUrl = None,
    config: ConfigFile = None,
    as_json: JsonFlag = False,
    quiet: QuietFlag = False,
) -> None:
    """Check what works on this machine.

    Looks at versions, devices, extras, the registry and the artefact store; exit 8 if something needed fails.
    """
    import sys

    from mlserve import wiring
    from mlserve.errors import Unavailable
    from mlserve.wiring.checking import check_everything

    checks = check_everything(lambda: wiring.settings_in_force({"registry": registry}, config))
    failed = [check for check in checks if check.needed and not check.ok]
    rows = [{"check": check.name, "ok": check.ok, "detail": check.detail} for check in checks]
    # A failure is an error, and errors leave stdout alone.
    out = Output.for_flags(json=as_json, quiet=quiet, answers=sys.stderr if failed else None)
    if not (failed and (as_json or quiet)):
        out.table(("check", "ok", "detail"), rows, document={"checks": checks}, made=[])
    if failed:
        raise Unavailable("; ".join(f"{check.name}: {check.detail}" for check in failed))
