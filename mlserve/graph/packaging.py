"""The files that make up one model: the graph, and whatever files its weights lie in."""

from __future__ import annotations

from pathlib import Path

from mlserve.core.digests import Manifest, manifest_of
from mlserve.errors import InvalidInput
from mlserve.graph.document import load_graph
from mlserve.graph.external import external_files

GRAPH_FILE = "model.onnx"
"""What the graph is called within a model, whatever its file is called on disk."""


def model_files(path: Path) -> list[tuple[str, Path]]:
    """``(path within the model, path on disk)`` of each file: the graph first as ``model.onnx``, then weights by name.

    Raises NotFound, and InvalidInput for a file that is not ONNX or for weights that are missing, cut short, or outside
    the graph's folder.
    """
    weights = external_files(load_graph(path, weights=False), path.parent)
    if GRAPH_FILE in weights:
        raise InvalidInput(
            f"'{path}' keeps its weights in a file called '{GRAPH_FILE}', the name of the graph itself",
            hint="save the weights under another name",
        )
    return [(GRAPH_FILE, path), *weights.items()]


def read_manifest(path: Path) -> Manifest:
    """The manifest of the model at ``path``, each file hashed. Raises as ``model_files`` does."""
    return manifest_of(model_files(path))
