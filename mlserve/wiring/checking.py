"""What ``mlserve doctor`` looks at: what is installed, what really works, and what can be reached from here."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator

import mlserve.runtime  # noqa: F401 (before onnxruntime is imported, which it keeps from reporting home)
from mlserve.core.settings import Resolved
from mlserve.errors import MlserveError, NotFound
from mlserve.wiring.checking_runtime import check_builds, check_ceilings, check_devices, check_processor
from mlserve.wiring.checks import Check, requirements, version_of

LICENCES = {
    "alibi-detect": "Business Source License 1.1: production use needs a licence from Seldon",
    "bitsandbytes": "MIT, but it loads NVIDIA's CUDA libraries under NVIDIA's own terms",
}
"""Packages whose licence restricts what a user may do."""

_HIDDEN_EXTRAS = {"all", "dev"}


def check_everything(settings: Callable[[], Resolved]) -> list[Check]:
    """Every check, in the order a person reads them. Never raises: what fails is a check that is not ok."""
    return [
        *_packages(),
        *_runtime(),
        *_places(settings),
        *_extras(),
        _drift_engine(),
        *_licences(),
    ]


def _packages() -> Iterator[Check]:
    version = ".".join(str(part) for part in sys.version_info[:3])
    is_known = (3, 11) <= sys.version_info[:2] <= (3, 12)
    yield Check("python", is_known, version if is_known else f"{version}: mlserve is made for 3.11 and 3.12")
    required = [one.name for one in requirements() if one.extra is None]
    found = {name: version_of(name) for name in ("mlserve", *required) if not name.startswith("onnxruntime")}
    missing = [name for name, installed in found.items() if installed is None]
    seen = ", ".join(f"{name} {installed}" for name, installed in found.items() if installed)
    yield Check("packages", not missing, f"missing: {', '.join(missing)}" if missing else seen)


def _runtime() -> Iterator[Check]:
    """ONNX Runtime, and where it is whole, what it can do here."""
    builds = list(check_builds())
    yield from builds
    if all(check.ok for check in builds):
        yield from check_ceilings()
        yield from check_devices()
    yield from check_processor()


def _places(settings: Callable[[], Resolved]) -> Iterator[Check]:
    """The settings, the registry that they name and its artefacts; without a project there is nothing to reach."""
    from mlserve.registry.artefacts import ArtefactStore
    from mlserve.registry.store import open_store, probe
    from mlserve.wiring.connecting import artefacts_root, registry_url, without_password

    try:
        resolved = settings()
    except MlserveError as error:
        yield Check("settings", False, _told(error))
        return
    yield Check("settings", True, str(resolved.project) if resolved.project else "no project here")
    try:
        url = registry_url(resolved)
    except NotFound as error:
        yield Check("registry", False, _told(error), needed=False)
        return
    try:
        store = open_store(url)
        probe(store)
        store.close()
        yield Check("registry", True, without_password(url))
    except MlserveError as error:
        yield Check("registry", False, _told(error))
    try:
        root = artefacts_root(resolved)
        ArtefactStore(root).probe()
        yield Check("artefacts", True, without_password(root))
    except MlserveError as error:
        yield Check("artefacts", False, _told(error))


def _extras() -> Iterator[Check]:
    wanted: dict[str, list[str]] = {}
    for one in requirements():
        if one.extra is not None and one.extra not in _HIDDEN_EXTRAS and one.name != "mlserve":
            wanted.setdefault(one.extra, []).append(one.name)
    for extra, names in sorted(wanted.items()):
        missing = [name for name in names if version_of(name) is None]
        seen = ", ".join(f"{name} {version_of(name)}" for name in names)
        detail = f"pip install 'mlserve[{extra}]' (missing: {', '.join(missing)})" if missing else seen
        detail += "".join(f"; {name}: {LICENCES[name]}" for name in missing if name in LICENCES)
        yield Check(f"extra {extra}", not missing, detail, needed=False)


def _drift_engine() -> Check:
    """Which engine ``drift`` tests with here."""
    from mlserve.drift.detectors.engines import ALIBI, SCIPY, engine_in_use

    engine = engine_in_use()
    detail = {
        ALIBI: f"{ALIBI} {version_of(ALIBI)}",
        SCIPY: f"{SCIPY} {version_of(SCIPY)}: tests of single columns; pip install 'mlserve[drift]' for whole rows",
        None: "none: pip install 'mlserve[drift]', or 'mlserve[drift-lite]' for tests of single columns",
    }[engine]
    return Check("drift engine", engine is not None, detail, needed=False)


def _licences() -> Iterator[Check]:
    known = [f"{name}: {terms}" for name, terms in LICENCES.items() if version_of(name)]
    yield Check("licences", True, "; ".join(known) or "nothing installed that restricts you", needed=False)


def _told(error: MlserveError) -> str:
    return f"{error.message} ({error.hint})" if error.hint else error.message
