"""Pages out of templates: one file each, every text escaped, no script and no network."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib import resources
from importlib.util import find_spec
from typing import Any

from mlserve.core.plugins import missing_extra
from mlserve.report.figures import number, share, size, tensor


def check_available() -> None:
    """Raises MissingExtra where jinja2 is not installed."""
    if find_spec("jinja2") is None:
        raise missing_extra("jinja2", "report")


def render_page(template: str, values: Mapping[str, Any]) -> str:
    """``template``, of this package, filled with ``values``. Raises MissingExtra where jinja2 is not installed."""
    check_available()
    return str(_environment().get_template(template).render(values))


@cache
def _environment() -> Any:
    """Where templates are compiled, each once."""
    import jinja2

    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.ChainableUndefined, trim_blocks=True, loader=jinja2.FunctionLoader(_source)
    )
    environment.filters |= {"number": number, "share": share, "size": size, "tensor": tensor}
    return environment


def _source(name: str) -> str:
    return resources.files("mlserve.report").joinpath(name).read_text("utf-8")
