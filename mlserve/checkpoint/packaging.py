"""Which files of a folder are the checkpoint. A version is exactly these, so that equal checkpoints are equal versions.

config.json, the weights that it loads (safetensors), and what stands beside them as .json .txt .model .jinja .md
left out   hidden files, folders (but chat templates), pickles, code, other weights, what a trainer left
refused    symbolic links and other files that are none, weights that are missing or cut short, and a file that is
           no weights and yet larger than 256 MiB
"""

from __future__ import annotations

import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from mlserve.checkpoint.config import CONFIG_FILE
from mlserve.checkpoint.weights import weight_files
from mlserve.core.digests import Manifest, manifest_of
from mlserve.errors import InvalidInput, NotFound

KEPT_SUFFIXES = frozenset({".json", ".txt", ".model", ".jinja", ".md"})
KEPT_NAMES = frozenset({"LICENSE", "LICENCE", "NOTICE", "USE_POLICY"})
TEMPLATES = "additional_chat_templates"
OF_TRAINERS = frozenset({"trainer_state.json", "all_results.json", "train_results.json", "eval_results.json"})

MAX_SIDE_BYTES = 256 << 20
"""The largest tokenizers are a tenth of it."""


@dataclass(frozen=True, slots=True)
class Package:
    """``(path within the model, path on disk)`` of each file, ``config.json`` first; and the names that were left."""

    files: tuple[tuple[str, Path], ...]
    left_out: tuple[str, ...]


def checkpoint_folder(path: Path) -> Path | None:
    """The folder of the checkpoint that ``path`` names, itself or by its ``config.json``; None for other files."""
    if path.is_dir():
        return path
    return path.parent if path.name == CONFIG_FILE else None


def checkpoint_files(folder: Path) -> Package:
    """The files that make up the checkpoint in ``folder``.

    Raises NotFound for no such folder, InvalidInput for one without a configuration or weights, or with what may not
    lie in it.
    """
    if not folder.is_dir():
        raise NotFound(f"no folder '{folder}'")
    if not (folder / CONFIG_FILE).exists():
        raise InvalidInput(f"'{folder}' has no '{CONFIG_FILE}', so it is no checkpoint")
    kept: dict[str, Path] = {}
    left_out: list[str] = []
    others: list[tuple[str, Path]] = []
    for name, path in _entries(folder):
        mode = path.lstat().st_mode
        if stat.S_ISLNK(mode):
            raise InvalidInput(
                f"'{path}' is a symbolic link, and a version has its own files only",
                hint=f"cp -rL {folder} COPY, and take the copy",
            )
        if stat.S_ISDIR(mode):
            left_out.append(f"{name}/")
        elif not stat.S_ISREG(mode):
            raise InvalidInput(f"'{path}' is not a file")
        else:
            others.append((name, path))
    weights = set(weight_files(folder))
    for name, path in others:
        if name in weights or _is_kept(name, path):
            kept[name] = path
        else:
            left_out.append(name)
    first = kept.pop(CONFIG_FILE)
    return Package(((CONFIG_FILE, first), *sorted(kept.items())), tuple(sorted(left_out)))


def read_manifest(folder: Path) -> Manifest:
    """The manifest of the checkpoint in ``folder``, each file hashed. Raises as ``checkpoint_files``."""
    return manifest_of(checkpoint_files(folder).files)


def _entries(folder: Path) -> Iterator[tuple[str, Path]]:
    """Everything that is not hidden, the chat templates in their folder too."""
    for path in sorted(folder.iterdir()):
        if path.name.startswith("."):
            continue
        if path.name == TEMPLATES and path.is_dir() and not path.is_symlink():
            yield from ((f"{TEMPLATES}/{inner.name}", inner) for inner in sorted(path.iterdir()))
        else:
            yield path.name, path


def _is_kept(name: str, path: Path) -> bool:
    if path.name in OF_TRAINERS or not (path.suffix.lower() in KEPT_SUFFIXES or path.name in KEPT_NAMES):
        return False
    size = path.stat().st_size
    if size > MAX_SIDE_BYTES:
        raise InvalidInput(f"'{path}' has {size} bytes, and only weights may be that large", hint="move it elsewhere")
    return True
