"""Where a model's source stands: the commit of the git repository that it lies in, if any."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mlserve.registry.records import Commit

TIMEOUT_S = 10.0


def commit_of(model: Path) -> Commit | None:
    """The commit checked out around ``model``, else around the working directory; None where there is no repository.

    Dirty means that files which git follows differ from the commit; files that it does not follow (the model itself,
    mostly) do not count. Never raises: a version without a commit is better than none.
    """
    from mlserve.registry.records import Commit

    for folder in (model.absolute().parent, Path.cwd()):
        sha = _git(folder, "rev-parse", "--verify", "HEAD")
        if sha:
            changes = _git(folder, "status", "--porcelain", "--untracked-files=no")
            return Commit(sha, dirty=changes is None or changes != "")
    return None


def _git(folder: Path, *words: str) -> str | None:
    """What git answers, None where it refuses, is not installed, or takes too long."""
    try:
        done = subprocess.run(
            ["git", "--no-optional-locks", "-C", str(folder), *words],
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            check=False,
            stdin=subprocess.DEVNULL,
        )
    except (OSError, subprocess.TimeoutExpired, UnicodeDecodeError):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
