"""What the host does to a guest during its load, in a thread: some commands hold QEMU's main loop for seconds, and the
samples must go on."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping

from guestroom.errors import GuestroomError
from guestroom.lab.study.dataset import Factor
from guestroom.lab.study.loads import LOADS
from guestroom.lab.vm import Vm
from guestroom.observe.qmp import QmpClient

PATIENCE_S = 60.0


class Act:
    """The act of a load, once it began."""

    def __init__(self, vm: Vm, factors: Mapping[str, Factor]) -> None:
        self._vm, self._factors = vm, factors
        self._thread: threading.Thread | None = None
        self._error: GuestroomError | None = None
        self.took_s = 0.0

    def begin(self) -> None:
        """Start, once."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._do, daemon=True)
            self._thread.start()

    def _do(self) -> None:
        act = LOADS[str(self._factors["load"])].act
        assert act is not None
        began_s = time.monotonic()
        try:
            with QmpClient(self._vm.machine.monitor, PATIENCE_S) as monitor:
                act(monitor, self._factors, self._vm.machine.folder)
        except GuestroomError as error:
            self._error = error
        self.took_s = time.monotonic() - began_s

    def ended(self) -> bool:
        """Whether it is done. Raises what went wrong."""
        if self._error is not None:
            raise self._error
        return self._thread is not None and not self._thread.is_alive()

    def join(self) -> None:
        """Wait for it a little."""
        if self._thread is not None:
            self._thread.join(2.0)
