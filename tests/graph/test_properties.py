"""Provenance travels inside the file, and is read back by what wrote it."""

from __future__ import annotations

from mlserve.graph.properties import get_properties, provenance_of, set_properties
from tests import models


def test_what_our_commands_wrote_is_read_by_name() -> None:
    model = models.classifier()
    set_properties(
        model,
        {
            "mlserve.framework": "sklearn",
            "mlserve.quantize.method": "int8",
            "mlserve.quantize.plan": '{"dense": "int8"}',
            "mlserve.quantize.options": "{not JSON",
            "author": "somebody",
        },
    )

    assert provenance_of(model) == {
        "framework": "sklearn",
        "quantize": {"method": "int8", "plan": {"dense": "int8"}, "options": "{not JSON"},
    }
    assert "author" in get_properties(model)


def test_a_model_that_none_of_them_made_has_no_provenance() -> None:
    assert provenance_of(models.classifier()) == {}
