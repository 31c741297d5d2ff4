"""What the shell offers after Tab: model names, refs and stages. A registry out of reach offers nothing."""

from __future__ import annotations

from mlserve.core.refs import Stage


def complete_stage(incomplete: str) -> list[str]:
    return [stage.value for stage in Stage if stage.startswith(incomplete)]


def complete_name(incomplete: str) -> list[str]:
    return [name for name in _known() if name.startswith(incomplete)]


def complete_ref(incomplete: str) -> list[str]:
    """Names first; after ``NAME:`` its versions, after ``NAME@`` the stages."""
    name, colon, _ = incomplete.partition(":")
    if colon:
        return [ref for ref in _known(name) if ref.startswith(incomplete)]
    name, at, stage = incomplete.partition("@")
    return [f"{name}@{known}" for known in complete_stage(stage)] if at else complete_name(incomplete)


def _known(name: str | None = None) -> list[str]:
    """Model names, or the refs of one model's versions."""
    from mlserve import wiring
    from mlserve.errors import MlserveError
    from mlserve.registry.versions import list_models, list_versions

    try:
        with wiring.connect() as app:
            if name is None:
                return [model.name for model in list_models(app.store)]
            return [version.ref for version in list_versions(app.store, name)]
    except MlserveError:
        return []
