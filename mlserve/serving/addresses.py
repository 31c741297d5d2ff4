"""Addresses as they are told to people and clients."""

from __future__ import annotations


def url_of(host: str, port: int, *, is_secure: bool = False) -> str:
    """
    >>> url_of("::1", 8000)
    'http://[::1]:8000'
    """
    return f"{'https' if is_secure else 'http'}://{address_of(host, port)}"


def address_of(host: str, port: int) -> str:
    """Host and port as one text."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
