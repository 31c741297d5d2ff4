"""Operators that ONNX Runtime does not have itself: the library of onnxruntime-extensions, for graphs that need it.

Tokenizers inside a graph are of its domain. Only the file of the library is taken: importing the package would import
onnx and, where it is installed, transformers.
Source: onnx.proto3, ModelProto.opset_import 8 and OperatorSetIdProto.domain 1.
"""

from __future__ import annotations

from importlib.machinery import PathFinder
from importlib.util import find_spec
from pathlib import Path

import onnxruntime as ort

from mlserve.core.plugins import missing_extra
from mlserve.errors import InvalidInput
from mlserve.runtime.operators import Buffer, fields, open_mapped

DOMAIN = "ai.onnx.contrib"
PACKAGE, EXTRA = "onnxruntime_extensions", "text"
_LIBRARY = "_extensions_pydll"
_OPSET_IMPORT, _DOMAIN = 8, 1


def add_extensions(options: ort.SessionOptions, source: Path | bytes) -> None:
    """Let a session with ``options`` run the model in ``source``: with the library where it asks for its domain.

    A file that is no model is left for the session to refuse. Raises NotFound for no such file, and MissingExtra where
    the library is needed and not installed.
    """
    try:
        needed = DOMAIN in read_domains(source)
    except InvalidInput:
        return
    if needed:
        options.register_custom_ops_library(str(library()))


def read_domains(source: Path | bytes) -> frozenset[str]:
    """The domains of operators that the model in ``source`` imports. Raises NotFound, InvalidInput for no protobuf."""
    if isinstance(source, bytes):
        return _domains(source)
    with open_mapped(source) as content:
        return _domains(content)


def library() -> Path:
    """The file of the operators' library. Raises MissingExtra."""
    package = find_spec(PACKAGE)
    places = package.submodule_search_locations if package else None
    found = PathFinder.find_spec(_LIBRARY, list(places)) if places else None
    if found is None or found.origin is None:
        raise missing_extra(PACKAGE, EXTRA)
    return Path(found.origin)


def _domains(content: Buffer) -> frozenset[str]:
    try:
        return frozenset(
            content[slice(*name)].decode()
            for number, entry in fields(content, (0, len(content)))
            if number == _OPSET_IMPORT
            for part, name in fields(content, entry)
            if part == _DOMAIN
        )
    except (IndexError, UnicodeDecodeError) as error:
        raise InvalidInput("the model's file is cut short or no ONNX") from error
