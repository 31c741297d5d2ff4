"""The limit of open files is raised for the clients that a server takes."""

from __future__ import annotations

import resource
from collections.abc import Iterator

import pytest

from mlserve.serving.descriptors import SPARE, allow_files


@pytest.fixture
def hard() -> Iterator[int]:
    """The limit that cannot be passed, with one half of a thousand in force."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (512, before[1]))
    yield before[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_as_many_clients_fit_as_are_allowed(hard: int) -> None:
    assert allow_files(600) == 600
    assert resource.getrlimit(resource.RLIMIT_NOFILE) == (600 + SPARE, hard)


def test_what_is_more_already_stays(hard: int) -> None:
    assert allow_files(10) == 512 - SPARE


def test_no_more_fit_than_the_machine_allows(hard: int) -> None:
    if hard == resource.RLIM_INFINITY:
        pytest.skip("this machine sets no end")

    assert allow_files(hard + 1) == hard - SPARE
