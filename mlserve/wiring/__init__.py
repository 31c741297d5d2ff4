"""The composition root: settings become a store, artefacts, models and a server. The only package that knows everybody.

    flags > environment > mlserve.toml > default  ─►  Settings  ─►  connect() ─► App(store, artefacts, user, clock)

registering   a model file becomes a version: signature, load, certificate, golden rows, commit, evidence
predicting    a ref, a file or a server's URL becomes something that answers rows
outcomes      which capture is meant, and a file of labels recorded beside it
serving       names and files become a running server
drifting      a version and its reference become a drift profile
benching      load for what a target names (targeting): a server, or a model in this process (calling)
checking      what ``mlserve doctor`` looks at
starting      what ``mlserve init`` makes
waiting       ``promote --wait``: until every live server has swapped
"""

from __future__ import annotations

from mlserve.wiring.connecting import (
    App,
    artefacts_root,
    connect,
    now,
    registry_url,
    settings_in_force,
    user_of,
    without_password,
)

__all__ = [
    "App",
    "artefacts_root",
    "connect",
    "now",
    "registry_url",
    "settings_in_force",
    "user_of",
    "without_password",
]
