"""The nonces of one stream (rule 3)."""

from xds_server.base.ids import Nonce
from xds_server.xds.batch import Batch


class Nonces:
    """Makes nonces that are unique within the stream. Streams that are sent the same batch get the same
    nonce if they can, so that they share the encoded response."""

    def __init__(self) -> None:
        self._serial = self._repeats = 0

    def next(self, batch: Batch) -> Nonce:
        if batch.serial > self._serial:
            self._serial, self._repeats = batch.serial, 0
            return Nonce(f"{batch.serial:x}")
        self._repeats += 1
        return Nonce(f"{self._serial:x}.{self._repeats:x}")
