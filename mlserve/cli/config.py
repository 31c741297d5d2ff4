"""``mlserve config``: every setting with its origin."""

from mlserve.cli.options import ConfigFile, JsonFlag, QuietFlag, RegistryUrl
from mlserve.cli.output import Output

TUNED = ("serve.lanes", "serve.threads", "serve.max_batch", "serve.max_delay_ms")
"""What the profile of a version decides where nobody does; see ``serving.options``."""


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
    origins = {item.name: item.origin for item in settings}
    values = {item.name: item.value for item in settings}
    left = [name for name in TUNED if origins[name] == "default"]
    out.table(("name", "value", "origin"), rows, document={"settings": rows}, made=[row["name"] for row in rows])
    if left and values["serve.tuned"] == "auto":
        out.hint(f"a version that was tuned on such a machine has its own {', '.join(left)} (mlserve tune REF)")
