"""Tables of plugins: a name, an import string, and what to install when the import finds a package missing.

Built-in plugins are written in the table; others come from the entry-point group. Nothing is registered by being
imported, and nothing is imported before it is asked for.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import metadata
from typing import Any, Generic, TypeVar, cast

from mlserve.core.refs import did_you_mean
from mlserve.errors import MissingExtra, NotFound

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Plugin:
    """Where a plugin is (``package.module:Name``), the modules it cannot do without, and the extra that brings them."""

    target: str
    needs: tuple[str, ...] = ()
    extra: str | None = None

    def load(self) -> Any:
        """The object that ``target`` names.

        Raises MissingExtra if one of ``needs`` is not installed; any other ImportError is our bug and passes untouched.
        """
        module, _, attribute = self.target.partition(":")
        try:
            for needed in self.needs:
                importlib.import_module(needed)
            return getattr(importlib.import_module(module), attribute)
        except ModuleNotFoundError as error:
            missing = (error.name or "").partition(".")[0]
            if self.extra and missing in {name.partition(".")[0] for name in self.needs}:
                raise missing_extra(missing, self.extra) from error
            raise


class Registry(Generic[T]):
    """The plugins of one kind by name; ``registry["sklearn"]`` imports and returns that one."""

    def __init__(self, kind: str, *, group: str, builtin: Mapping[str, Plugin]) -> None:
        self.kind = kind
        self._group = group
        self._builtin = dict(builtin)

    def __iter__(self) -> Iterator[str]:
        yield from self._builtin
        yield from (point.name for point in self._points() if point.name not in self._builtin)

    def __getitem__(self, name: str) -> T:
        """The plugin called ``name``. Raises NotFound naming the nearest, MissingExtra saying what to install."""
        if name in self._builtin:
            return cast(T, self._builtin[name].load())
        for point in self._points():
            if point.name == name:
                return cast(T, point.load())
        known = list(self)
        raise NotFound(f"no {self.kind} '{name}'", hint=did_you_mean(name, known) or f"there are {', '.join(known)}")

    def _points(self) -> metadata.EntryPoints:
        return metadata.entry_points(group=self._group)


def missing_extra(module: str, extra: str) -> MissingExtra:
    """The error that says which extra brings ``module``."""
    return MissingExtra(f"this needs '{module}', which is not installed", hint=f"pip install 'mlserve[{extra}]'")
