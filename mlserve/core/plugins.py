"""Tables of plugins: a name, an import string, and what to install when the import finds a package missing.

Built-in plugins are written in the table; others come from the entry-point group. Nothing is registered by being
imported, and nothing is imported before it is asked for.
"""

from __future__ import annotations

import importlib
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from importlib import metadata
from typing import Any, Generic, TypeVar, cast

from mlserve.core.refs import did_you_mean
from mlserve.errors import MissingExtra, NotFound, UsageError

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
    """The plugins of one kind by name; ``registry["sklearn"]`` imports and returns that one.

    ``planned`` are names that people read of in the command line's contract and that are not there yet.
    """

    def __init__(self, kind: str, *, group: str, builtin: Mapping[str, Plugin], planned: Collection[str] = ()) -> None:
        self.kind = kind
        self._group = group
        self._builtin = dict(builtin)
        self._planned = frozenset(planned)

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
        there_are = f"there are {', '.join(known)}"
        if name in self._planned:
            raise NotFound(f"{self.kind} '{name}' is not offered by this version", hint=there_are)
        raise NotFound(f"no {self.kind} '{name}'", hint=did_you_mean(name, known) or there_are)

    def chosen(self, name: str) -> T:
        """The plugin that a user chose by an option: a name that is not there is a UsageError, as for any choice."""
        try:
            return self[name]
        except NotFound as error:
            raise UsageError(error.message, hint=error.hint) from error

    def _points(self) -> metadata.EntryPoints:
        return metadata.entry_points(group=self._group)


def missing_extra(module: str, extra: str) -> MissingExtra:
    """The error that says which extra brings ``module``."""
    return MissingExtra(f"this needs '{module}', which is not installed", hint=f"pip install 'mlserve[{extra}]'")
