"""What a replay answers with: versions of the registry and model files, opened as a server opens them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mlserve.checkpoint.packaging import checkpoint_folder
from mlserve.core.refs import parse_ref
from mlserve.errors import MlserveError, NotFound
from mlserve.replay.answering import Version
from mlserve.wiring.connecting import connect, settings_in_force
from mlserve.wiring.predicting import is_path

if TYPE_CHECKING:
    from mlserve.runtime.certificate import Certificate
    from mlserve.runtime.model import OnnxModel

Array = np.ndarray[Any, np.dtype[Any]]

USEFUL_ROWS = 32
"""A run of a model that could not be timed."""

MEASURE_S = 2.0


@dataclass(frozen=True, slots=True)
class Located:
    """A version's file. ``digest`` is that of a version of the registry, or of the file's bytes."""

    ref: str
    path: Path
    digest: str
    is_registered: bool
    certificate: Certificate | None = None


@dataclass(frozen=True, slots=True)
class OpenedVersion:
    """A version that answers. ``is_inline``: its runs are so short that more threads are in each other's way."""

    version: Version
    is_registered: bool
    is_inline: bool


@contextmanager
def located(target: str, flags: Mapping[str, Any], config_file: Path | None) -> Iterator[Located]:
    """The file that ``target`` names, a ref or a path. Raises NotFound, CorruptArtefact."""
    from mlserve.core.digests import digest_file

    if is_path(target):
        path = Path(target)
        if not path.exists():
            raise NotFound(f"no file '{target}'")
        yield Located(target, path, digest_file(path) if path.is_file() else "", is_registered=False)
        return
    from mlserve.registry.evidencing import evidence_of
    from mlserve.registry.versions import get_version
    from mlserve.serving.registry import latest_certificate

    with connect(config_file, flags=flags, registry=flags.get("registry")) as app:
        found = get_version(app.store, parse_ref(target))
        certificate = latest_certificate(evidence_of(app.store, found.digest))
        path = app.artefacts.open_local(found.manifest, None)
        yield Located(found.ref, path, found.digest, True, certificate)


@contextmanager
def opened_version(
    target: str,
    rows: Mapping[str, Array] | None,
    flags: Mapping[str, Any],
    config_file: Path | None,
) -> Iterator[OpenedVersion]:
    """``target``, ready to answer, a thread a run as on a server. ``rows`` are real inputs to learn its costs with.

    Raises NotFound, and InvalidInput for what cannot be loaded.
    """
    from mlserve.runtime.model import load_model
    from mlserve.runtime.precision import precision_of
    from mlserve.runtime.threads import plan_for_throughput, usable_cores

    device = settings_in_force(flags, config_file).settings.serve.device
    with located(target, flags, config_file) as found:
        if (folder := checkpoint_folder(found.path)) is not None:
            from mlserve.serving.generation.loading import RUN_ROWS
            from mlserve.wiring.predicting import texts_of

            with closing(texts_of(folder, target, device)) as runner:
                version = Version(found.ref, found.digest, runner.signature, runner.run, RUN_ROWS)
                yield OpenedVersion(version, found.is_registered, is_inline=True)
            return
        model = load_model(found.path, device=device, threads=plan_for_throughput(usable_cores()), label=found.ref)
        try:
            max_rows, is_inline = _useful(model, found.certificate, rows)
            version = Version(found.ref, found.digest, model.signature, model.run, max_rows, precision_of(model))
            yield OpenedVersion(version, found.is_registered, is_inline)
        finally:
            model.close()


def recorded_version(
    model: str, versions: Mapping[int, str | None], flags: Mapping[str, Any], config_file: Path | None
) -> str | None:
    """The ref of the one version that answered, where the registry has it with the same bytes; else None."""
    from mlserve.core.refs import ModelRef
    from mlserve.registry.versions import get_version

    if len(versions) != 1:
        return None
    ((number, digest),) = versions.items()
    try:
        with connect(config_file, flags=flags, registry=flags.get("registry")) as app:
            found = get_version(app.store, ModelRef(model, number))
    except MlserveError:
        return None
    return found.ref if found.digest == digest else None


def _useful(
    model: OnnxModel, certificate: Certificate | None, rows: Mapping[str, Array] | None
) -> tuple[int | None, bool]:
    """The most rows of a useful run, None where rows may share none; and whether runs are very short."""
    from mlserve.runtime.certificate import certify
    from mlserve.runtime.costs import MANY, measure
    from mlserve.runtime.samples import synthetic_inputs

    if certificate is None or not certificate.holds_for(model.providers[0], model.threads):
        certificate = certify(model, rows=rows)
    if not certificate.batchable:
        return None, False
    try:
        inputs = (
            {name: np.resize(array, (MANY, *array.shape[1:])) for name, array in rows.items()}
            if rows
            else synthetic_inputs(model.signature, MANY, seed=0)
        )
        costs = measure(model, inputs, batchable=True, budget_s=MEASURE_S)
    except MlserveError:
        return USEFUL_ROWS, False
    return costs.useful_rows(), costs.is_inline
