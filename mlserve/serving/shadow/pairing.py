"""The shadow's answers go into the capture that has production's: rows with the same request ids, in stage ``shadow``.

They have no inputs, which the row of production has. A reader that wants traffic leaves them out.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Sequence

from mlserve.core.refs import Stage
from mlserve.core.tensors import Signature
from mlserve.serving.shadow.running import Ran
from mlserve.traffic.recorded import Recorded, Source
from mlserve.traffic.writing import CapturePlan, CaptureWriter


class PairWriter:
    """Writes what one version answered in shadow. Raises InvalidConfig for a folder that cannot be written."""

    def __init__(self, plan: CapturePlan, name: str, version: int, digest: str | None, signature: Signature) -> None:
        self._writer = CaptureWriter(plan, f"{secrets.token_hex(3)}{os.getpid():x}")
        self._source = Source(name, version, digest, signature)
        self._waiting: list[Recorded] = []

    @property
    def dropped(self) -> int:
        return self._writer.dropped

    def add(self, rans: Sequence[Ran]) -> None:
        """Keep them for the next ``flush``."""
        self._waiting += [self._recorded(ran) for ran in rans]

    def flush(self) -> None:
        """Write what is kept; what the disk does not take is dropped and counted."""
        waiting, self._waiting = self._waiting, []
        if waiting:
            self._writer.write(waiting)
        else:
            self._writer.tend()

    def close(self) -> None:
        self.flush()
        self._writer.close()

    def _recorded(self, ran: Ran) -> Recorded:
        head = ran.mirrored.head
        return Recorded(
            source=self._source,
            ids=head.ids,
            arrived_s=head.arrived_s,
            status=ran.status,
            inputs=None,
            outputs=ran.outputs,
            is_sliced=head.is_sliced,
            epoch_s=head.epoch_s,
            stage=str(Stage.SHADOW),
            rows=head.rows,
            unit_keys=head.unit_keys,
            asked=head.asked,
            first_rows=head.first_rows,
            taken_s=head.taken_s,
            compute_s=ran.run_s,
            batch_id=head.batch_id,
            batch_rows=head.batch_rows,
        )
