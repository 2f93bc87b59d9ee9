"""What a check says, and how a check is made so that it neither hangs nor stops the others."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Literal, TypeVar

from ora2sf.deadline import NoAnswerInTime, within
from ora2sf.errors import Ora2sfError
from ora2sf.redaction import Redactor

State = Literal["ok", "warning", "problem", "not checked"]
Found = TypeVar("Found")

#: Seconds that a server gets to answer one question; a sign-in through a slow network needs some.
PATIENCE = 30.0


@dataclass(frozen=True)
class Check:
    """One line: what was looked at, how it is, and what to do about it.

    Attributes:
        area: ``here``, ``tables``, or the name of a connection.
    """

    area: str
    name: str
    state: State
    text: str
    fix: str = ""

    def cleaned(self, redactor: Redactor) -> Check:
        """The same without secrets, in one line."""
        text, fix = (" ".join(redactor.clean(part).split()) for part in (self.text, self.fix))
        return replace(self, text=text, fix=fix)

    def __str__(self) -> str:
        fix = f" Fix: {self.fix}" if self.fix else ""
        stop = "" if self.text.endswith((".", "?", "!")) or not fix else "."
        return f"{self.state:<11}  {self.area:<14}  {self.name:<20}  {self.text}{stop}{fix}".rstrip()

    def as_json(self) -> dict[str, str]:
        """Its fields."""
        return asdict(self)


class Checklist:
    """The checks of one area, in order.

    Args:
        note: is handed each check.
    """

    def __init__(self, area: str, note: Callable[[Check], None]) -> None:
        self._area, self._note = area, note

    def ok(self, name: str, text: str) -> None:
        """Everything is as it should be."""
        self._note(Check(self._area, name, "ok", text))

    def warning(self, name: str, text: str, fix: str) -> None:
        """A run works, but not as well as it could, or not for long."""
        self._note(Check(self._area, name, "warning", text, fix))

    def problem(self, name: str, text: str, fix: str) -> None:
        """A run fails."""
        self._note(Check(self._area, name, "problem", text, fix))

    def skipped(self, name: str, because: str) -> None:
        """It could not be looked at."""
        self._note(Check(self._area, name, "not checked", f"because {because}"))

    def failed(self, name: str, error: Exception) -> None:
        """A check that ended in an error; a programmer's mistake is not hidden."""
        if isinstance(error, Ora2sfError):
            self.problem(name, error.what, error.next_step)
        elif isinstance(error, NoAnswerInTime):
            self.problem(
                name,
                f"no answer in {PATIENCE:g} seconds",
                "Something accepts the connection and says nothing: check host and port, and firewalls between.",
            )
        else:
            raise error

    def attempt(self, name: str, ask: Callable[[], Found]) -> Found | None:
        """What ``ask`` returns, in :data:`PATIENCE` seconds; or None, and the problem is noted."""
        try:
            return in_time(ask)
        except (Ora2sfError, NoAnswerInTime) as error:
            self.failed(name, error)
            return None


def in_time(ask: Callable[[], Found]) -> Found:
    """What ``ask`` returns or raises.

    Raises:
        NoAnswerInTime: it takes longer than :data:`PATIENCE`.
    """
    return within(PATIENCE, ask)
