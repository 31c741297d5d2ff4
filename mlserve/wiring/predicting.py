"""Rows answered by whatever a target names: a version of the registry, a model file, or a server over HTTP."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from itertools import chain, groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mlserve.checkpoint.packaging import checkpoint_folder
from mlserve.core.progress import Progress, silent
from mlserve.core.refs import parse_ref
from mlserve.core.tensors import Signature
from mlserve.errors import InvalidInput
from mlserve.wiring.connecting import connect, settings_in_force
from mlserve.wiring.remote import RemoteModel, is_url, parse_url, read_key

if TYPE_CHECKING:
    from mlserve.core.settings import Device
    from mlserve.rows.reading import Roles, RowBatch
    from mlserve.serving.generation.runner import ChildRunner

Arrays = dict[str, np.ndarray[Any, Any]]
PIECE_ROWS = 1024
"""A file of more rows is answered in pieces of this many, where the model is known to answer row by row."""


@dataclass(frozen=True, slots=True)
class Answering:
    """What a target can do: its signature, one run, and whether rows may go in pieces (asked only then)."""

    signature: Signature
    run: Callable[[Arrays], Arrays]
    is_row_wise: Callable[[], bool]


def predict_rows(
    target: str,
    rows: Path,
    *,
    roles: Roles,
    ignore_extra: bool = False,
    api_key_file: Path | None = None,
    flags: Mapping[str, Any] | None = None,
    config_file: Path | None = None,
    progress: Progress = silent,
) -> Arrays:
    """The outputs by name, all of them, rows in the order of the file.

    Raises NotFound, InvalidInput for rows that do not fit, Unavailable for a server or registry out of reach.
    """
    from mlserve.rows.reading import open_rows

    with answering(target, flags=flags or {}, config_file=config_file, api_key_file=api_key_file) as model:
        source = open_rows(rows, model.signature, roles=roles, ignore_extra=ignore_extra)
        pieces: list[Arrays] = []
        done = 0
        for inputs in _pieces(source.batches(PIECE_ROWS), model):
            pieces.append(model.run(inputs))
            done += _count(inputs)
            progress("answering rows", done, source.total_rows)
    if not pieces:
        raise InvalidInput(f"'{rows}' has no rows")
    return _joined(pieces)


@contextmanager
def answering(
    target: str, *, flags: Mapping[str, Any], config_file: Path | None = None, api_key_file: Path | None = None
) -> Iterator[Answering]:
    """What ``target`` names, ready to run, released when the block ends."""
    if is_url(target):
        remote = RemoteModel(parse_url(target), key=read_key(api_key_file))
        try:
            signature = remote.signature()
            dtypes = {spec.name: spec.dtype for spec in signature.inputs}
            yield Answering(signature, lambda inputs: remote.run(inputs, dtypes), lambda: remote.is_row_wise(signature))
        finally:
            remote.close()
        return
    from mlserve.runtime.certificate import certify
    from mlserve.runtime.model import load_model

    with model_file(target, flags=flags, config_file=config_file) as (path, device):
        if (folder := checkpoint_folder(path)) is not None:
            with closing(texts_of(folder, target, device)) as runner:
                yield Answering(runner.signature, lambda inputs: _in_runs(runner, inputs), lambda: True)
            return
        model = load_model(path, device=device)
        try:
            yield Answering(model.signature, model.run, lambda: certify(model).batchable)
        finally:
            model.close()


def texts_of(folder: Path, target: str, device: Device) -> ChildRunner:
    from mlserve.runtime.threads import usable_cores
    from mlserve.serving.generation.loading import open_runner

    return open_runner(folder, target, device=device, threads=usable_cores())


def _in_runs(runner: ChildRunner, inputs: Arrays) -> Arrays:
    """Few texts at a time: what a run needs of memory grows with them."""
    from mlserve.serving.generation.loading import RUN_ROWS

    runs = [
        runner.run({name: array[start : start + RUN_ROWS] for name, array in inputs.items()})
        for start in range(0, _count(inputs), RUN_ROWS)
    ]
    return {name: np.concatenate([run[name] for run in runs]) for name in runs[0]}


@contextmanager
def model_file(
    target: str, *, flags: Mapping[str, Any], config_file: Path | None = None
) -> Iterator[tuple[Path, Device]]:
    """The file of the model that ``target`` names, a path or a ref, and the device to run it on.

    A version of the registry is verified against its digest first. Raises NotFound, CorruptArtefact.
    """
    if is_path(target):
        yield Path(target), settings_in_force(flags, config_file).settings.serve.device
        return
    from mlserve.registry.versions import get_version

    with connect(config_file, flags=flags, registry=flags.get("registry")) as app:
        version = get_version(app.store, parse_ref(target))
        yield app.artefacts.open_local(version.manifest, None), app.settings.serve.device


def is_path(target: str) -> bool:
    """Whether a target is meant as a file or a checkpoint folder: by a separator or suffix, or because it is there.

    >>> is_path("fraud:2"), is_path("fraud.onnx"), is_path("./fraud")
    (False, True, True)
    """
    path = Path(target)
    return "/" in target or target.endswith(".onnx") or path.is_file() or (path / "config.json").is_file()


def _pieces(batches: Iterator[RowBatch], model: Answering) -> Iterator[Arrays]:
    """What to run, one after another: as read, or all rows at once where a row's answer may depend on others.

    Rows of another shape than those before them cannot be in one run, whatever the model.
    """
    first = next(batches, None)
    second = next(batches, None)
    if first is None:
        return
    everything = (batch.inputs for batch in chain([first], [] if second is None else [second], batches))
    if second is None or _has_fixed_rows(model.signature) or model.is_row_wise():
        yield from everything
        return
    for _, group in groupby(everything, key=_row_shapes):
        parts = list(group)
        yield {
            name: np.concatenate([part[name] for part in parts]) if array.ndim else array
            for name, array in parts[0].items()
        }


def _row_shapes(inputs: Arrays) -> list[object]:
    return [array.shape[1:] if array.ndim else array.item() for array in inputs.values()]


def _joined(pieces: list[Arrays]) -> Arrays:
    if len(pieces) == 1:
        return pieces[0]
    try:
        return {name: np.concatenate([piece[name] for piece in pieces]) for name in pieces[0]}
    except ValueError as error:
        raise InvalidInput(
            "the answers to these rows have different shapes and make no one array", hint="give rows of one shape"
        ) from error


def _has_fixed_rows(signature: Signature) -> bool:
    return any(spec.dims and isinstance(spec.dims[0], int) for spec in signature.inputs)


def _count(inputs: Arrays) -> int:
    return max((len(array) for array in inputs.values() if array.ndim), default=0)
