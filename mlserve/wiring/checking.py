"""What ``mlserve doctor`` looks at: what is installed, what really works, and what can be reached from here."""

from __future__ import annotations

import importlib
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import metadata

import mlserve.runtime  # noqa: F401 (before onnxruntime is imported, which it keeps from reporting home)
from mlserve.core.settings import Resolved
from mlserve.errors import MlserveError, NotFound

LICENCES = {
    "alibi-detect": "Business Source License 1.1: production use needs a licence from Seldon",
    "bitsandbytes": "MIT, but it loads NVIDIA's CUDA libraries under NVIDIA's own terms",
}
"""Packages whose licence restricts what a user may do."""

_REQUIREMENT = re.compile(r"(?P<name>[A-Za-z0-9._-]+)")
_EXTRA = re.compile(r"extra\s*==\s*['\"](?P<extra>[A-Za-z0-9._-]+)['\"]")
_HIDDEN_EXTRAS = {"all", "dev"}


@dataclass(frozen=True, slots=True)
class Check:
    """One look: whether it is well, what was seen, and whether mlserve can do without it."""

    name: str
    ok: bool
    detail: str
    needed: bool = True


def check_everything(settings: Callable[[], Resolved]) -> list[Check]:
    """Every check, in the order a person reads them. Never raises: what fails is a check that is not ok."""
    return [
        *_packages(),
        *_onnxruntime(),
        *_devices(),
        *_places(settings),
        *_extras(),
        *_licences(),
    ]


def _packages() -> Iterator[Check]:
    version = ".".join(str(part) for part in sys.version_info[:3])
    is_known = (3, 11) <= sys.version_info[:2] <= (3, 12)
    yield Check("python", is_known, version if is_known else f"{version}: mlserve is made for 3.11 and 3.12")
    required = [name for name, extra in _requirements() if extra is None]
    found = {name: _version(name) for name in ("mlserve", *required) if not name.startswith("onnxruntime")}
    missing = [name for name, installed in found.items() if installed is None]
    seen = ", ".join(f"{name} {installed}" for name, installed in found.items() if installed)
    yield Check("packages", not missing, f"missing: {', '.join(missing)}" if missing else seen)


def _onnxruntime() -> Iterator[Check]:
    builds = [name for name in ("onnxruntime", "onnxruntime-gpu") if _version(name)]
    if len(builds) > 1:
        hint = "pip uninstall onnxruntime onnxruntime-gpu, then install mlserve again"
        yield Check("onnxruntime", False, f"both {' and '.join(builds)} are installed, over each other: {hint}")
        return
    try:
        module = importlib.import_module("onnxruntime")
    except ImportError as error:
        yield Check("onnxruntime", False, f"cannot be imported: {error}")
        return
    yield Check("onnxruntime", True, f"{module.__version__} ({', '.join(builds) or 'not installed by pip'})")


def _devices() -> Iterator[Check]:
    try:
        import onnxruntime

        from mlserve.runtime.providers import CPU, CUDA, TENSORRT, how_to_get, missing_for
        from mlserve.runtime.threads import usable_cores
    except ImportError:
        return
    available = onnxruntime.get_available_providers()
    yield Check("device cpu", CPU in available, f"{usable_cores()} cores may be used at once")
    for device, provider in (("cuda", CUDA), ("tensorrt", TENSORRT)):
        missing = missing_for(provider, available)
        detail = f"not found: {', '.join(missing)} ({how_to_get(missing)})" if missing else provider
        yield Check(f"device {device}", not missing, detail, needed=False)


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
    for name, extra in _requirements():
        if extra is not None and extra not in _HIDDEN_EXTRAS and name != "mlserve":
            wanted.setdefault(extra, []).append(name)
    for extra, names in sorted(wanted.items()):
        missing = [name for name in names if _version(name) is None]
        seen = ", ".join(f"{name} {_version(name)}" for name in names)
        detail = f"pip install 'mlserve[{extra}]' (missing: {', '.join(missing)})" if missing else seen
        yield Check(f"extra {extra}", not missing, detail, needed=False)


def _licences() -> Iterator[Check]:
    known = [f"{name} is {terms}" for name, terms in LICENCES.items() if _version(name)]
    yield Check("licences", True, "; ".join(known) or "nothing installed that restricts you", needed=False)


def _requirements() -> Iterator[tuple[str, str | None]]:
    """``(package, extra)`` of every requirement of mlserve, once; extra is None for what the base install needs."""
    try:
        lines = metadata.requires("mlserve") or []
    except metadata.PackageNotFoundError:
        return
    seen: set[tuple[str, str | None]] = set()
    for line in lines:
        name, extra = _REQUIREMENT.match(line), _EXTRA.search(line)
        assert name is not None
        key = (name["name"], extra["extra"] if extra else None)
        if key not in seen:
            seen.add(key)
            yield key


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _told(error: MlserveError) -> str:
    return f"{error.message} ({error.hint})" if error.hint else error.message
