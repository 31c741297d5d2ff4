"""Whatever is done to a file, it is read or refused by name; nothing else comes out, and nothing is run."""

from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mlserve.core.dtypes import DType
from mlserve.core.tensors import Signature, TensorSpec
from mlserve.errors import InvalidInput
from mlserve.rows.reading import open_rows
from tests.rows.files import FORMS, write

SIGNATURE = Signature((TensorSpec("age", DType.FLOAT32, ("batch",)), TensorSpec("city", DType.STRING, ("batch",))), ())
COLUMNS = {"age": np.linspace(0, 1, 30), "city": np.array(["Oslo", "Rome", "Lima"] * 10, object)}


def read(path: Path) -> None:
    for batch in open_rows(path, SIGNATURE).batches(7):
        assert batch.inputs["age"].shape == batch.inputs["city"].shape


@pytest.mark.parametrize("form", FORMS)
@given(data=st.data())
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_changed_byte(tmp_path: Path, form: str, data: st.DataObject):
    path = write(tmp_path, form, COLUMNS)
    content = bytearray(path.read_bytes())
    content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(bytes(content))

    with suppress(InvalidInput):
        read(path)


@pytest.mark.parametrize("form", FORMS)
@given(data=st.data())
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_cut(tmp_path: Path, form: str, data: st.DataObject):
    path = write(tmp_path, form, COLUMNS)
    content = path.read_bytes()
    path.write_bytes(content[: data.draw(st.integers(0, len(content) - 1))])

    with suppress(InvalidInput):
        read(path)


@pytest.mark.parametrize("form", ["npz", "parquet", "json", "request.json"])
def test_a_cut_is_noticed_where_the_form_has_an_end(tmp_path: Path, form: str):
    path = write(tmp_path, form, COLUMNS)
    content = path.read_bytes()

    for length in range(1, len(content) - 1, 17):
        path.write_bytes(content[:length])
        with pytest.raises(InvalidInput):
            read(path)


@pytest.mark.parametrize("form", FORMS)
@given(content=st.binary(min_size=1, max_size=60))
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_bytes(tmp_path: Path, form: str, content: bytes):
    path = tmp_path / f"data.{form}"
    path.write_bytes(content)

    with suppress(InvalidInput):
        read(path)
