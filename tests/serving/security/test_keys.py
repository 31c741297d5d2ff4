"""API keys: the file, and what a key may do."""

from __future__ import annotations

import stat
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlserve.errors import Conflict, Forbidden, InvalidConfig, NotFound, Unauthenticated, UsageError
from mlserve.serving.http.heads import parse_head
from mlserve.serving.http.limits import Limits
from mlserve.serving.http.replies import Reply
from mlserve.serving.security.access import Access, manages
from mlserve.serving.security.keys import add_key, read_keys, remove_key


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "keys.txt"


def bearer(key: str) -> dict[str, str]:
    return {"authorization": f"Bearer {key}"}


def test_the_file_keeps_no_key_and_is_its_owners_alone(file: Path) -> None:
    key = add_key(file, "billing", ["infer"])

    assert key not in file.read_text()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    found = read_keys(file).find(key)
    assert found is not None
    assert (found.name, found.scopes) == ("billing", {"infer"})
    assert read_keys(file).find(key + "x") is None


def test_who_may_read_the_file_still_may_when_its_keys_change(file: Path) -> None:
    add_key(file, "billing", ["infer"])
    file.chmod(0o640)

    add_key(file, "other", ["infer"])
    remove_key(file, "billing")

    assert stat.S_IMODE(file.stat().st_mode) == 0o640


def test_a_key_that_is_removed_is_not_known_any_more_and_the_others_are(file: Path) -> None:
    gone, kept = add_key(file, "gone", ["infer"]), add_key(file, "kept", ["infer"])

    remove_key(file, "gone")

    assert read_keys(file).find(gone) is None
    assert read_keys(file).find(kept) is not None


@given(st.sampled_from([b"Authorization", b"x-api-key"]), st.sampled_from([b"", b"Bearer "]), st.binary(max_size=40))
def test_no_header_of_any_bytes_lets_anybody_in(name: bytes, scheme: bytes, value: bytes) -> None:
    with TemporaryDirectory() as folder:
        keys = Path(folder) / "keys.txt"
        add_key(keys, "billing", ["infer"])
        access = Access(keys)

        head = b"POST /v2/models/m/infer HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n" + name + b": " + scheme + value
        found = parse_head(head, Limits(), access.check)

    reply = found if isinstance(found, Reply) else found.route
    assert isinstance(reply, Reply)
    assert reply.status in (400, 401)


def test_what_cannot_be_a_key_is_refused(file: Path) -> None:
    add_key(file, "billing", ["infer"])

    with pytest.raises(Conflict, match="'billing'"):
        add_key(file, "billing", ["infer"])
    with pytest.raises(UsageError, match="'everything'"):
        add_key(file, "other", ["everything"])
    with pytest.raises(UsageError, match="'a b'"):
        add_key(file, "a b", ["infer"])
    with pytest.raises(NotFound, match="'nobody'"):
        remove_key(file, "nobody")


@pytest.mark.parametrize(
    "line",
    [
        pytest.param("billing infer", id="no hash"),
        pytest.param("billing all " + "0" * 64, id="no scope"),
        pytest.param("billing infer 1234", id="no SHA-256"),
        pytest.param("a infer " + "0" * 64 + "\na infer " + "1" * 64, id="a name twice"),
    ],
)
def test_a_line_that_is_no_key_is_named(file: Path, line: str) -> None:
    file.write_text(f"# keys\n\n{line}\n")

    with pytest.raises(InvalidConfig, match=r"line [34] of '.*keys\.txt'"):
        read_keys(file)


def test_each_key_may_do_what_its_scopes_say_and_no_more(file: Path) -> None:
    asks, looks = add_key(file, "asks", ["infer"]), add_key(file, "looks", ["metrics", "manage"])
    access = Access(file)

    access.check("infer", bearer(asks))
    access.check("infer", {"x-api-key": asks})
    access.check("metrics", bearer(looks))
    access.check("manage", bearer(looks))
    with pytest.raises(Forbidden, match="'asks' may not manage"):
        access.check("manage", bearer(asks))
    with pytest.raises(Forbidden, match="'looks' may not infer"):
        access.check("infer", bearer(looks))


@pytest.mark.parametrize(
    "headers",
    [
        pytest.param({}, id="none"),
        pytest.param({"authorization": "Basic dTpw"}, id="another scheme"),
        pytest.param({"authorization": "Bearer "}, id="empty"),
        pytest.param({"authorization": "Bearer mlserve_guess"}, id="unknown"),
        pytest.param({"x-api-key": "\ud800"}, id="no text"),
    ],
)
def test_without_a_known_key_nothing_may_be_done(file: Path, headers: dict[str, str]) -> None:
    add_key(file, "billing", ["infer"])

    with pytest.raises(Unauthenticated):
        Access(file).check("infer", headers)


def test_keys_change_with_their_file_and_stay_when_it_is_broken(file: Path) -> None:
    first = add_key(file, "first", ["infer"])
    access = Access(file)
    second = add_key(file, "second", ["infer"])

    access.reload_if_changed()
    access.check("infer", bearer(second))
    remove_key(file, "first")
    access.reload_if_changed()
    with pytest.raises(Unauthenticated):
        access.check("infer", bearer(first))
    file.write_text("broken")
    access.reload_if_changed()
    access.check("infer", bearer(second))


@pytest.mark.parametrize(
    ("switch", "host", "has_keys", "answer"),
    [
        ("auto", "127.0.0.1", False, True),
        ("auto", "::1", False, True),
        ("auto", "localhost", False, True),
        ("auto", "0.0.0.0", False, False),
        ("auto", "10.1.2.3", False, False),
        ("auto", "0.0.0.0", True, True),
        ("on", "0.0.0.0", False, True),
        ("off", "127.0.0.1", True, False),
    ],
)
def test_models_can_be_managed_where_nobody_unknown_can_come(
    file: Path, switch: str, host: str, has_keys: bool, answer: bool
) -> None:
    assert manages(switch, host, file if has_keys else None) is answer  # type: ignore[arg-type]  # one of a Literal
