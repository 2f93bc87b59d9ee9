"""A thread that works on jobs, one visible step of one job at a time."""

from __future__ import annotations

import threading
import traceback
from collections.abc import Callable
from typing import Any

Job = dict[str, Any]
NAP = 0.5  # seconds; a delay that ends does not tell anyone, so it looks again now and then
SHORT_NAP = 0.05  # while something waits for the clock


class Worker:
    """Takes the ready jobs in turn.

    ``ready`` lists the jobs that can be worked on, ``step`` does one step, ``broken`` is told of an exception
    that a step let through: a mistake in this package must show in the job, not as a thread that is gone.
    ``waiting`` says whether something ends with time alone.
    """

    def __init__(
        self,
        name: str,
        ready: Callable[[], list[Job]],
        step: Callable[[Job], None],
        broken: Callable[[Job, Exception], None],
        waiting: Callable[[], bool],
    ) -> None:
        self._ready, self._step, self._broken, self._waiting = ready, step, broken, waiting
        self._news = threading.Condition()
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)
        self._busy = False
        self.stopping = False

    def start(self) -> None:
        """Begin; jobs that a former process left unfinished go on."""
        self._thread.start()

    def stop(self) -> None:
        """End after the step in hand."""
        self.stopping = True
        self.wake()
        if self._thread.is_alive():
            self._thread.join(timeout=30)

    def wake(self) -> None:
        """Something changed: a job was closed, the clock was pushed, a setting was switched."""
        with self._news:
            self._news.notify_all()

    def wait_idle(self, timeout: float) -> bool:
        """Wait until no job can be worked on; False when the time is over."""
        with self._news:
            return self._news.wait_for(lambda: not self._busy and not self._ready(), timeout)

    def _work(self) -> None:
        turn = 0
        while not self.stopping:
            ready = self._take()
            if not ready:
                continue
            turn += 1
            job = ready[turn % len(ready)]
            try:
                self._step(job)
            except Exception as error:  # noqa: BLE001 - told to the job
                traceback.print_exc()
                self._broken(job, error)

    def _take(self) -> list[Job]:
        """The ready jobs; with none, wait a moment for news and return nothing."""
        with self._news:
            ready = self._ready()
            self._busy = bool(ready)
            if not ready:
                self._news.notify_all()
                if not self.stopping:
                    self._news.wait(timeout=SHORT_NAP if self._waiting() else NAP)
            return ready
