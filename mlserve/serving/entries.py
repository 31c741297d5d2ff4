"""One name of the repository: what of it is loaded, what is wanted, what went wrong, and how that is told."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from mlserve.core.refs import Stage, did_you_mean
from mlserve.errors import CorruptArtefact, DeadlineExceeded, MlserveError, NotFound, Unavailable
from mlserve.serving.loaded import Loaded
from mlserve.serving.loading import Wanted
from mlserve.serving.routing import Split
from mlserve.serving.seam import ModelState, ModelStatus

FIRST_RETRY_S = 1.0
LAST_RETRY_S = 60.0
UNLOADED = "unloaded"
"""In the index, why a version that was unloaded on demand is not there."""


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a version is not loaded, and when to try again (None: only when something about it changes)."""

    wanted: Wanted
    error: Exception
    attempts: int
    retry_at_s: float | None

    def is_due(self, wanted: Wanted, now_s: float) -> bool:
        if (wanted.digest, wanted.generation) != (self.wanted.digest, self.wanted.generation):
            return True
        return self.retry_at_s is not None and now_s >= self.retry_at_s

    @property
    def reason(self) -> str:
        return self.error.message if isinstance(self.error, MlserveError) else "it broke the loader; see the log"


def failure_of(wanted: Wanted, error: Exception, before: Failure | None, now_s: float) -> Failure:
    """What is out of reach, missing or damaged may come back; a model that cannot be used stays as it is.

    Nor is one tried again that never ended: each time would leave another thread behind.
    """
    attempts = 1 + (before.attempts if before else 0)
    if isinstance(error, (Unavailable, NotFound, CorruptArtefact)) and not isinstance(error, DeadlineExceeded):
        wait_s = min(LAST_RETRY_S, FIRST_RETRY_S * 2.0 ** (attempts - 1))
        return Failure(wanted, error, attempts, now_s + wait_s)
    return Failure(wanted, error, attempts, None)


@dataclass(slots=True)
class Entry:
    """One name: its loaded versions, what answers for it, what its stages hold, and what is under way.

    ``asked`` are versions loaded on demand, which stay whatever the stages say. ``stale`` are versions that answer with
    what was loaded before, for they could not be loaded again. ``unloaded`` is None, or the versions
    that were there when all were unloaded on demand; then nothing is loaded until somebody asks again.
    """

    versions: dict[int, Loaded] = field(default_factory=dict)
    production: Loaded | None = None
    split: Split | None = None
    staged: dict[int, Wanted] = field(default_factory=dict)
    asked: dict[int, Wanted] = field(default_factory=dict)
    loading: dict[int, Wanted] = field(default_factory=dict)
    draining: set[Loaded] = field(default_factory=set)
    failures: dict[int, Failure] = field(default_factory=dict)
    stale: dict[int, Failure] = field(default_factory=dict)
    unloaded: tuple[int, ...] | None = None

    @property
    def wanted(self) -> dict[int, Wanted]:
        """What should be loaded, by version: production first, so that what most requests wait for comes first."""
        if self.unloaded is not None:
            return {}
        first = sorted(self.staged.values(), key=lambda one: (Stage.PRODUCTION not in one.stages, one.version))
        return {one.version: one for one in first} | {
            version: one for version, one in self.asked.items() if version not in self.staged
        }

    @property
    def is_needless(self) -> bool:
        """Whether nobody would miss this entry: nothing of it is wanted, and nobody said that it should stay away."""
        return not self.wanted and self.unloaded is None

    def holder(self, stage: str) -> int | None:
        """The version that stands in ``stage``, loaded or not."""
        return next((version for version, one in self.staged.items() if stage in one.stages), None)

    def point(self, key_input: str | None) -> None:
        """Let what is wanted answer where it is loaded; the previous production stays until its successor is."""
        target = None if self.unloaded is not None else self.holder(Stage.PRODUCTION)
        if target is None:
            self.production = None
        elif target in self.versions:
            self.production = self.versions[target]
        self.split = self._split(key_input)

    def needless(self) -> list[int]:
        """Loaded versions that nobody can ask for any more."""
        wanted, kept = self.wanted, self.production
        return [version for version, one in self.versions.items() if version not in wanted and one is not kept]

    def refresh_views(self) -> None:
        """Let each version say which others there are and which stages it holds."""
        names = tuple(str(version) for version in sorted(self.versions))
        for version, loaded in self.versions.items():
            stages = self.staged[version].stages if version in self.staged else ()
            loaded.refresh_view(names, _stages_held(stages, is_production=loaded is self.production))

    def _split(self, key_input: str | None) -> Split | None:
        version = self.holder(Stage.CHALLENGER)
        if version is None or self.production is None:
            return None
        share, challenger = self.staged[version].traffic, self.versions.get(version)
        if share <= 0.0 or challenger is None or challenger is self.production:
            return None
        before = self.split
        if before is not None and (before.champion, before.challenger, before.share) == (
            self.production,
            challenger,
            share,
        ):
            return before
        keyless = before.keyless if before is not None else 0
        return Split(self.production, challenger, share, key_input=key_input, keyless=keyless)

    def statuses(self, name: str) -> list[ModelStatus]:
        """A line for every version that is loaded, loading, draining, unloaded or failed; by version."""
        found = {
            version: ModelStatus(name, str(version), ModelState.READY, self._why_stale(version))
            for version in self.versions
        }
        for version in self.loading:
            found.setdefault(version, ModelStatus(name, str(version), ModelState.LOADING))
        for version, failure in self.failures.items():
            found.setdefault(version, ModelStatus(name, str(version), ModelState.UNAVAILABLE, failure.reason))
        for loaded in self.draining:
            found.setdefault(loaded.version, ModelStatus(name, str(loaded.version), ModelState.UNLOADING))
        for version in self.unloaded or ():
            found.setdefault(version, ModelStatus(name, str(version), ModelState.UNAVAILABLE, UNLOADED))
        if found:
            return [found[version] for version in sorted(found)]
        reason = UNLOADED if self.unloaded is not None else "no version in production yet"
        return [ModelStatus(name, None, ModelState.UNAVAILABLE, reason)]

    def _why_stale(self, version: int) -> str:
        failure = self.stale.get(version)
        return "" if failure is None else f"not loaded again, the one before goes on: {failure.reason}"

    def why_not(self, name: str, version: int | None) -> MlserveError:
        """Why a request for ``version`` (None: for production) is not answered."""
        if self.unloaded is not None:
            return Unavailable(
                f"model '{name}' is unloaded", hint=f"POST /v2/repository/models/{name}/load brings it back"
            )
        if version is not None:
            return self._why_not_version(name, version)
        if self.loading:
            return Unavailable(f"model '{name}' is still loading")
        if self.failures:
            failure = next(iter(self.failures.values()))
            return Unavailable(f"model '{name}' is not ready: {failure.reason}")
        return Unavailable(
            f"model '{name}' has no version in production yet", hint=f"mlserve promote {name}:VERSION --to production"
        )

    def _why_not_version(self, name: str, version: int) -> MlserveError:
        if version in self.loading:
            return Unavailable(f"{name}:{version} is still loading")
        if version in self.failures:
            return Unavailable(f"{name}:{version} is not ready: {self.failures[version].reason}")
        there = ", ".join(str(loaded) for loaded in sorted(self.versions)) or "none"
        return NotFound(f"version {version} of '{name}' is not loaded (loaded: {there})")


def no_stage(name: str, stage: str) -> MlserveError:
    """Why ``name@stage`` is not answered where nothing stands there."""
    near = (
        did_you_mean(stage, list(Stage)) if stage not in list(Stage) else f"mlserve promote {name}:VERSION --to {stage}"
    )
    return NotFound(f"no version of '{name}' is in '{stage}'", hint=near)


def _stages_held(stages: Iterable[str], *, is_production: bool) -> tuple[str, ...]:
    """Production is what really answers: not the stage's holder while it is loading, but the one before it."""
    others = tuple(str(stage) for stage in stages if stage != Stage.PRODUCTION)
    return (*others, str(Stage.PRODUCTION)) if is_production else others
