"""``.npz`` files, honest and hostile."""

import io
import os
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest

from mlserve.errors import InvalidInput
from mlserve.rows.npz_file import NpzTable
from tests.rows.files import write_npz


def npy(array: np.ndarray, version: tuple[int, int] | None = None, *, allow_pickle: bool = False) -> bytes:
    stream = io.BytesIO()
    np.lib.format.write_array(stream, array, version=version, allow_pickle=allow_pickle)
    return stream.getvalue()


def header(shape: str, descr: str = "'<f4'") -> bytes:
    text = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}".encode()
    text += b" " * (63 - (10 + len(text)) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text


def read(path: Path, rows: int = 2) -> dict[str, list[np.ndarray]]:
    columns: dict[str, list[np.ndarray]] = {}
    for batch in NpzTable(path).batches(rows):
        for name, array in batch.items():
            columns.setdefault(name, []).append(array)
    return columns


@pytest.mark.parametrize(
    "array",
    [
        pytest.param(np.arange(10, dtype=np.int8).reshape(5, 2), id="C order"),
        pytest.param(np.asfortranarray(np.arange(30).reshape(5, 3, 2)), id="Fortran order"),
        pytest.param(np.arange(5, dtype=">i4"), id="big endian"),
        pytest.param(np.zeros((5, 0)), id="rows without values"),
        pytest.param(np.array([True, False, True, False, True]), id="booleans"),
        pytest.param(np.array(["2020-01-01"] * 5, "M8[D]"), id="dates"),
        pytest.param(np.array(["a", "bb", "", "Ærø", "e"]), id="text"),
        pytest.param(np.char.encode(np.array(["a", "bb", "", "Ærø", "e"]), "utf-8"), id="bytes"),
    ],
)
@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_arrays_are_read_in_pieces(tmp_path: Path, save, array: np.ndarray):
    save(tmp_path / "a.npz", a=array)

    pieces = read(tmp_path / "a.npz")["a"]

    wanted = np.char.decode(array, "utf-8") if array.dtype.kind == "S" else array
    np.testing.assert_array_equal(np.concatenate(pieces), wanted)
    assert [len(piece) for piece in pieces] == [2, 2, 1]
    assert all(piece.dtype.isnative for piece in pieces)


def test_newer_headers_of_the_format_are_read(tmp_path: Path):
    path = write_npz(tmp_path / "a.npz", {"a.npy": npy(np.arange(3), (2, 0))})

    assert np.concatenate(read(path)["a"]).tolist() == [0, 1, 2]


def test_only_what_is_asked_for_is_read(tmp_path: Path):
    np.savez(tmp_path / "a.npz", a=np.arange(3), b=np.arange(7))

    (batch,) = NpzTable(tmp_path / "a.npz").batches(10, only={"b"})

    assert list(batch) == ["b"]


def test_a_table_can_be_read_twice(tmp_path: Path):
    np.savez(tmp_path / "a.npz", a=np.arange(3))
    table = NpzTable(tmp_path / "a.npz")

    assert [len(list(table.batches(2))) for _ in range(2)] == [2, 2]


def test_memory_is_taken_for_a_batch_and_not_for_the_file(tmp_path: Path):
    np.savez_compressed(tmp_path / "a.npz", a=np.zeros((40_000, 100)))
    tracemalloc.start()

    for _ in NpzTable(tmp_path / "a.npz").batches(100):
        pass

    peak_bytes = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak_bytes < 4 << 20 < 40_000 * 100 * 8


def test_nothing_is_unpickled(tmp_path: Path):
    class Bomb:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "ran"),)

    np.savez(tmp_path / "a.npz", a=np.array([Bomb()], dtype=object))

    with pytest.raises(InvalidInput, match=r"array 'a' of .* holds Python objects") as caught:
        NpzTable(tmp_path / "a.npz")

    assert not (tmp_path / "ran").exists()
    assert caught.value.hint == "save text as array.astype(str)"


@pytest.mark.parametrize(
    ("members", "fact"),
    [
        pytest.param({"readme.txt": b"hello"}, "holds 'readme.txt', which is not an array", id="no array"),
        pytest.param({"a.npy": b"hello"}, "not a readable .npz file", id="no header"),
        pytest.param({"a.npy": b""}, "not a readable .npz file", id="nothing"),
        pytest.param({"a.npy": header("(3,)") + bytes(11)}, "it declares 140 bytes and has 139", id="cut short"),
        pytest.param({"a.npy": header("(3,)") + bytes(13)}, "it declares 140 bytes and has 141", id="too long"),
        pytest.param({"a.npy": header("(10**9,)")}, "not a readable .npz file", id="an expression"),
        pytest.param({"a.npy": header("(1000000000000,)")}, "is damaged", id="terabytes"),
        pytest.param({"a.npy": header("(9223372036854775807, 9223372036854775807)")}, "is damaged", id="overflow"),
        pytest.param({"a.npy": header("(-1, -3)") + bytes(12)}, "is damaged", id="negative"),
        pytest.param(
            {"a.npy": header("(1,)", "[('a', '<f4'), ('b', '<f4')]") + bytes(8)}, "holds records", id="records"
        ),
        pytest.param({"a.npy": header("(1,)", "'|O'")}, "holds Python objects", id="objects"),
        pytest.param({"a.npy": header("(1,)", "'zz'")}, "not a readable .npz file", id="no type"),
        pytest.param({"a.npy": b"\x93NUMPY\x03\x00" + bytes(100)}, "is of .npy format 3", id="format 3"),
        pytest.param({"a.npy": header("(1,)", "'|S1'") + b"\xff"}, "not a readable .npz file", id="not UTF-8"),
    ],
)
def test_what_is_no_plain_array_is_named(tmp_path: Path, members: dict[str, bytes], fact: str):
    path = write_npz(tmp_path / "a.npz", members)

    with pytest.raises(InvalidInput, match=fact):
        read(path)


def test_a_zip_bomb_is_refused_by_what_it_declares(tmp_path: Path):
    with zipfile.ZipFile(tmp_path / "a.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.npy", header("(1000000000,)") + bytes(10_000))
        archive.infolist()[0].file_size = 4_000_000_128

    with pytest.raises(InvalidInput, match=r"array 'a' of .* unpacks from \d+ to 4000000128 bytes"):
        NpzTable(tmp_path / "a.npz")


def test_an_archive_that_declares_more_than_it_has_is_refused(tmp_path: Path):
    with zipfile.ZipFile(tmp_path / "a.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.npy", header("(1000,)") + bytes(400))
        archive.infolist()[0].file_size = 4128

    with pytest.raises(InvalidInput, match=r"cut short|not a readable .npz file"):
        read(tmp_path / "a.npz")


def test_a_row_too_large_to_hold_is_refused(tmp_path: Path):
    with zipfile.ZipFile(tmp_path / "a.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.npy", header("(1, 100000000)") + bytes(100))
        archive.infolist()[0].file_size = 400_000_128

    with pytest.raises(InvalidInput, match=r"a row of array 'a' of .* has 400000000 bytes, more than"):
        NpzTable(tmp_path / "a.npz")


def test_a_large_array_that_cannot_be_read_by_row_is_refused(tmp_path: Path):
    fortran = header("(200, 2000000)").replace(b"False", b"True ")
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("a.npy", fortran + bytes(100))
        archive.infolist()[0].file_size = 1_600_000_128
        archive.infolist()[0].compress_size = 1_600_000_128

    with pytest.raises(InvalidInput, match=r"cannot be read row by row|not a readable"):
        read(tmp_path / "a.npz")


def test_too_many_arrays_are_refused(tmp_path: Path):
    path = write_npz(tmp_path / "a.npz", {f"{i}.npy": b"" for i in range(10_001)})

    with pytest.raises(InvalidInput, match="holds 10001 arrays"):
        NpzTable(path)


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_two_arrays_of_one_name_are_refused(tmp_path: Path):
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        for _ in range(2):
            archive.writestr("a.npy", npy(np.arange(3)))

    with pytest.raises(InvalidInput, match="has two columns 'a'"):
        NpzTable(tmp_path / "a.npz")


@pytest.mark.parametrize(("offset", "value"), [(6, 1), (8, 99)], ids=["encrypted", "unknown compression"])
def test_what_zip_cannot_open_is_named(tmp_path: Path, offset: int, value: int):
    path = write_npz(tmp_path / "a.npz", {"a.npy": npy(np.arange(3))})
    content = bytearray(path.read_bytes())
    directory = content.index(b"PK\x01\x02")
    content[offset] = value
    content[directory + offset + 2] = value
    path.write_bytes(bytes(content))

    with pytest.raises(InvalidInput, match=r"not a readable .npz file"):
        read(path)


def test_an_empty_archive_has_no_columns(tmp_path: Path):
    table = NpzTable(write_npz(tmp_path / "a.npz", {}))

    assert table.columns == ()
    assert table.total_rows is None
    assert [batch for batch in table.batches(3) if batch] == []
