"""What an exporter gets and gives: ``Request`` in, ``Conversion`` out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol

import numpy as np
import onnx

from mlserve.rows.reading import Roles, Table

Arrays = Mapping[str, np.ndarray[Any, Any]]
Axes = Mapping[str | None, Mapping[int, str]]
"""Names of dynamic axes by input and axis number; the key None stands for every input."""


@dataclass(frozen=True, slots=True)
class Request:
    """One call of ``export``, as far as an exporter needs it.

    ``source`` is what the user typed and ``loaded`` the object it led to, or None for files that the exporter reads
    itself. ``dynamic`` is None where the user left the choice to the exporter. ``made`` is what the function of
    ``--factory`` gave, for a file that holds weights and not the model that they belong to. ``task`` is what a
    checkpoint of several uses is exported for; with ``text`` its tokenizer goes into the graph.
    """

    source: str
    loaded: Any
    sample: Table | None
    roles: Roles
    opset: int
    dynamic: Axes | None
    allow_pickle: bool
    made: Any = None
    task: str | None = None
    text: bool = False


@dataclass(frozen=True, slots=True)
class Conversion:
    """A graph, and the original as a function of the graph's own named inputs.

    ``predict`` gives arrays under the graph's output names and raises InvalidInput for what the original refuses; it is
    None where there is no original to ask. ``example`` are inputs to check with when there is no sample. ``is_tabular``
    asks for edge rows (missing values, unknown categories) as well. ``tools`` are the packages that did the work.
    ``cases`` are further inputs by the name of the case, where other lengths of one axis alone make no sense; else they
    are made from the example. ``properties`` go into the file, so they must follow from the model alone.
    """

    model: onnx.ModelProto
    predict: Callable[[Arrays], dict[str, np.ndarray[Any, Any]]] | None
    tools: tuple[str, ...]
    example: Arrays | None = None
    is_tabular: bool = False
    notes: tuple[str, ...] = field(default=())
    cases: Mapping[str, Arrays] | None = None
    properties: Mapping[str, str] = field(default_factory=dict)


class Exporter(Protocol):
    """A framework. ``suffixes`` are files it reads itself, ``packages`` the top-level packages of objects it knows."""

    suffixes: ClassVar[tuple[str, ...]]
    packages: ClassVar[tuple[str, ...]]

    def convert(self, request: Request) -> Conversion:
        """The graph of ``request``. Raises UsageError, InvalidInput for a model that cannot be used, Unsupported."""
        ...
