"""The tensor inside a version's graph that a check looks at: the one that was named, else where rows are no table."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from mlserve.errors import Unsupported
from mlserve.wiring.connecting import App

if TYPE_CHECKING:
    from mlserve.drift.profile import Profile
    from mlserve.drift.tapping import Tapped
    from mlserve.registry.records import Version


@contextmanager
def tapped_of(app: App, version: Version, profile: Profile, tap: str | None) -> Iterator[Tapped | None]:
    """The version's graph with ``tap`` given out; by itself only of texts, images, tensors. None of none.

    Raises NotFound for a name that the graph has not, Unsupported for one that was named where there is no graph.
    """
    from mlserve.drift.tapping import open_tapped

    if tap is None and all(feature.kind.is_scalar for feature in profile.schema.features):
        yield None
        return
    plan = profile.prediction
    with ExitStack() as stack:
        try:
            tapped = stack.enter_context(
                open_tapped(
                    app.artefacts.open_local(version.manifest, None),
                    tap,
                    output=None if plan is None else plan.score_output or plan.class_output,
                    is_embedding=plan is not None and plan.task == "tensor",
                    device=app.settings.serve.device,
                )
            )
        except Unsupported:
            if tap is not None:
                raise
            tapped = None
        yield tapped
