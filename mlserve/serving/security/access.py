"""What a request may do: open to all, allowed by its key, or refused with the reason."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from ipaddress import ip_address
from pathlib import Path
from typing import Literal

from mlserve.errors import Forbidden, MlserveError, Unauthenticated
from mlserve.serving.security.keys import Keys, read_keys
from mlserve.serving.security.stamps import stamp

log = logging.getLogger(__name__)

Scope = Literal["infer", "manage", "metrics"]
Switch = Literal["auto", "on", "off"]


class Access:
    """Judges requests by their scope and headers. Without ``keys_file`` everybody may infer and see metrics.

    Loading and unloading are off for everybody where ``manages`` is False. ``version`` grows when the keys change, so
    that verdicts which were kept can be thrown away.
    """

    def __init__(self, keys_file: Path | None = None, *, manages: bool = True) -> None:
        self.version = 0
        self._manages = manages
        self._file = keys_file
        # Before the file is read, so that a change in between is seen later.
        self._stamp = None if keys_file is None else stamp(keys_file)
        self._keys = None if keys_file is None else read_keys(keys_file)

    @property
    def is_open(self) -> bool:
        """Whether nothing is ever refused."""
        return self._keys is None and self._manages

    def check(self, scope: Scope, headers: Mapping[str, str]) -> None:
        """Raises Unauthenticated for no key or an unknown one, Forbidden for one without the scope.

        ``headers`` have lower-case names: ``authorization: Bearer KEY`` or ``x-api-key: KEY``.
        """
        if scope == "manage" and not self._manages:
            raise Forbidden(
                "loading and unloading are off: this server listens beyond its own machine and has no API keys",
                hint="serve --api-keys FILE, or the setting serve.manage_routes",
            )
        if self._keys is None:
            return
        text = _key_in(headers)
        if text is None:
            raise Unauthenticated("an API key is needed", hint="Authorization: Bearer KEY")
        key = self._keys.find(text)
        if key is None:
            raise Unauthenticated("the API key is not known here")
        if scope not in key.scopes:
            raise Forbidden(f"the key '{key.name}' may not {scope}")

    def reload_if_changed(self, *, always: bool = False) -> None:
        """Read the file of keys again if it has changed; one that cannot be read leaves the keys as they are."""
        if self._file is None:
            return
        now = stamp(self._file)
        if now == self._stamp and not always:
            return
        self._stamp = now
        try:
            keys: Keys = read_keys(self._file)
        except MlserveError as error:
            log.warning("the API keys stay as they were: %s", error.message)
            return
        self._keys = keys
        self.version += 1
        log.info("%d API keys read from '%s'", len(keys.keys), self._file)


def manages(switch: Switch, host: str, keys_file: Path | None) -> bool:
    """Whether models may be loaded and unloaded over the wire: on "auto", with keys or on the machine's own addresses.

    >>> manages("auto", "127.0.0.1", None), manages("auto", "0.0.0.0", None)
    (True, False)
    """
    if switch != "auto":
        return switch == "on"
    return keys_file is not None or _is_loopback(host)


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _key_in(headers: Mapping[str, str]) -> str | None:
    scheme, _, token = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and token.strip():
        return token.strip()
    return headers.get("x-api-key") or None
