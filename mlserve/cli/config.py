"""``mlserve config``: every setting with its origin."""

from mlserve.cli.options import ConfigFile, JsonFlag, QuietFlag, RegistryUrl
from mlserve.cli.output import Output


def show(
    registry: RegistryUrl = None,
    config: ConfigFile = None,
    as_json: JsonFlag = False,
    quiet: QuietFlag = False,
) -> None:
    """Print every setting with its value and where the value comes from."""
    from mlserve import wiring

    out = Output.for_flags(json=as_json, quiet=quiet)
    settings = wiring.settings_in_force({"registry": registry}, config).origins
    rows = [
        {"name": item.name, "value": wiring.without_password(item.value), "origin": item.origin} for item in settings
    ]
    out.table(("name", "value", "origin"), rows, document={"settings": rows}, made=[row["name"] for row in rows])
