"""Registries for drift's own tests: on both dialects, as the registry's tests have them."""

from __future__ import annotations

from tests.registry.conftest import (  # noqa: F401 (fixtures)
    artefacts,
    dialect,
    empty_url,
    postgres_template,
    postgres_uri,
    sqlite_template,
    store,
    url,
)
