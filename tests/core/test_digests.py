"""Content addresses."""

import hashlib
import itertools
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlserve.core.digests import (
    FileEntry,
    Manifest,
    canonical_json,
    digest_bytes,
    digest_file,
    is_digest,
    manifest_of,
)
from mlserve.errors import InvalidInput, NotFound

json_values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False), st.text()),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(), inner, max_size=3)),
    max_leaves=10,
)


@given(json_values)
def test_canonical_json_is_json_of_the_same_value(value):
    assert json.loads(canonical_json(value)) == value


@given(st.dictionaries(st.text(), st.integers(), min_size=2, max_size=4))
def test_canonical_json_does_not_know_the_order_of_keys(value):
    shuffled = dict(reversed(value.items()))

    assert canonical_json(shuffled) == canonical_json(value)


def test_canonical_json_has_no_word_for_nan():
    with pytest.raises(ValueError, match="JSON"):
        canonical_json(float("nan"))


@given(st.binary())
def test_an_address_is_the_sha256_that_anyone_can_check(content: bytes):
    address = digest_bytes(content)

    assert address == f"sha256:{hashlib.sha256(content).hexdigest()}"
    assert is_digest(address)


@pytest.mark.parametrize(
    "text", ["", "sha256:", "sha256:" + "A" * 64, "sha256:" + "0" * 63, "0" * 64, "md5:" + "0" * 64]
)
def test_what_only_looks_like_an_address_is_none(text: str):
    assert not is_digest(text)


def test_a_file_has_the_address_of_its_bytes(tmp_path: Path):
    path = tmp_path / "f"
    path.write_bytes(b"abc")

    assert digest_file(path) == digest_bytes(b"abc")


def test_a_missing_file_is_not_found(tmp_path: Path):
    with pytest.raises(NotFound, match="no file"):
        digest_file(tmp_path / "absent")


def test_a_folder_has_no_address(tmp_path: Path):
    with pytest.raises(InvalidInput, match="cannot read"):
        digest_file(tmp_path)


A, B, C = (FileEntry(name, digest_bytes(name.encode()), 10) for name in ("model.onnx", "w.bin", "v.bin"))


def test_a_model_of_one_file_has_that_files_address():
    assert Manifest((A,)).digest == A.digest


def test_the_order_of_files_does_not_change_a_models_address():
    assert len({Manifest(files).digest for files in itertools.permutations((A, B, C))}) == 1


def test_other_weights_or_another_name_change_a_models_address():
    renamed = FileEntry("x.bin", B.digest, B.size_bytes)
    changed = FileEntry("w.bin", C.digest, B.size_bytes)

    assert len({Manifest((A, other)).digest for other in (B, renamed, changed)}) == 3


def test_a_manifest_knows_sizes_and_addresses_of_its_files(tmp_path: Path):
    (tmp_path / "g").write_bytes(b"graph")
    (tmp_path / "w").write_bytes(b"weights")

    manifest = manifest_of([("model.onnx", tmp_path / "g"), ("w", tmp_path / "w")])

    assert manifest.size_bytes == 12
    assert manifest.files[1] == FileEntry("w", digest_bytes(b"weights"), 7)
