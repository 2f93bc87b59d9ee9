"""The error tree. The first line of a message says what failed; the last says what to do next.

Ora2sfError
├── FinalError            trying again changes nothing until somebody acts
│   ├── ParameterError    a notebook parameter is missing, unknown or of the wrong kind
│   ├── TableFileError    a file in tables/ cannot be read or is not valid
│   ├── MappingFileError  a mapping of Data Loader, or a saved describe, cannot be used
│   ├── ConnectionFieldError  a connection is missing or incomplete
│   ├── AuthenticationError   a server refuses the credentials
│   ├── SourceError       Oracle refuses, or its data cannot be read exactly
│   │   └── PastError     the moment asked for cannot be read, or not by this user
│   ├── PlanError         a campaign's plan cannot be made or used
│   ├── TargetError       Salesforce refuses a request
│   │   └── NotFoundError the record or resource does not exist
│   ├── PreflightError    the table file does not fit the source or the target
│   ├── ConversionError   a value does not fit, or too many do not, where the table file says that it must stop
│   ├── EditedFileError   a CSV file that somebody edited cannot be taken as it is; every line at fault is listed
│   ├── RunFolderError    the run's folder cannot be used
│   ├── LedgerError       a move that the ledger does not allow
│   │   └── ClaimedError  another process holds the slice, or took it over
│   └── BalanceError      the books do not balance
└── TransientError        the same call may succeed later
    ├── SourceUnavailable     no answer from Oracle
    ├── TargetUnavailable     no answer from Salesforce, or "try again later"
    ├── JobTimeout            a job did not end in time; it is left running
    └── Paused                nothing new is begun for now; what has begun is finished first

How a command ends stands here, too: :class:`Exit`, what an error ends it with, and what a verdict does.
"""

from __future__ import annotations

from enum import IntEnum
from typing import ClassVar


class Exit(IntEnum):
    """Exit codes of the project's commands. 2 is left to argparse, for a command line that it does not understand."""

    COMPLETE = 0
    FAILED = 1  # everything that has no code of its own
    ROWS_FAILED = 3  # the books balance; some rows were rejected or refused
    NOT_RECONCILED = 4  # source, files and target do not agree
    PAUSED = 5  # the org's budget is used up; the same run_id goes on later
    CONFIGURATION = 6  # a parameter, table file, connection, field or right has to be corrected
    AT_WORK = 7  # a process is at work on it
    TRIAL = 8  # a dry run, or a trial of some rows, came to its end: that is not the migration
    INTERRUPTED = 130  # not at its end, the same run_id goes on; a shell says the same of Ctrl-C


#: Verdict → exit code.
VERDICTS: dict[str, Exit] = {
    "complete": Exit.COMPLETE,
    "proven": Exit.COMPLETE,
    "nothing to do": Exit.COMPLETE,
    "trial": Exit.TRIAL,
    "trial with exceptions": Exit.TRIAL,
    "dry run": Exit.TRIAL,
    "complete with exceptions": Exit.ROWS_FAILED,
    "all rejected": Exit.ROWS_FAILED,
    "incomplete": Exit.INTERRUPTED,
    "does not balance": Exit.NOT_RECONCILED,
    "does not reconcile": Exit.NOT_RECONCILED,
    "not reconciled": Exit.INTERRUPTED,
}
#: From the best to the worst: what stands for several slices is the worst of their codes.
_WORSE = (
    Exit.COMPLETE,
    Exit.ROWS_FAILED,
    Exit.TRIAL,
    Exit.AT_WORK,
    Exit.PAUSED,
    Exit.INTERRUPTED,
    Exit.CONFIGURATION,
    Exit.FAILED,
    Exit.NOT_RECONCILED,
)


def worst(codes: list[Exit]) -> Exit:
    """The one code of several slices; :attr:`Exit.COMPLETE` if there is none."""
    return max(codes, key=_WORSE.index, default=Exit.COMPLETE)


def exit_of(error: str) -> Exit:
    """The exit code for the name of an error's class, which is all that papermill hands on; others are failures."""
    found = globals().get(error)
    if isinstance(found, type) and issubclass(found, Ora2sfError):
        return found.exit
    return Exit.INTERRUPTED if error in {"KeyboardInterrupt", "DeadKernelError"} else Exit.FAILED


def may_pass(error: str) -> bool:
    """Whether the same call may succeed later, for the name of an error's class: not if somebody has to act first."""
    found = globals().get(error)
    final = isinstance(found, type) and issubclass(found, FinalError)
    return not final or found is ClaimedError


class Ora2sfError(Exception):
    """What failed, what it means, and the next step.

    Args:
        what: one sentence, without a secret in it.
        next_step: what the operator should do now.

    Attributes:
        exit: what a command ends with that fails so.
    """

    exit: ClassVar[Exit] = Exit.FAILED

    def __init__(self, what: str, next_step: str = "") -> None:
        self.what = what
        self.next_step = next_step
        super().__init__(f"{what}\nNext step: {next_step}" if next_step else what)


class FinalError(Ora2sfError):
    """Trying again changes nothing until somebody acts."""


class TransientError(Ora2sfError):
    """The same call may succeed later."""

    exit = Exit.INTERRUPTED


class ParameterError(FinalError):
    """A notebook parameter is missing, unknown or of the wrong kind."""

    exit = Exit.CONFIGURATION


class TableFileError(FinalError):
    """A table file cannot be read or is not valid."""

    exit = Exit.CONFIGURATION


class MappingFileError(FinalError):
    """A mapping of Data Loader, or a saved describe, cannot be used; every line at fault is listed."""

    exit = Exit.CONFIGURATION


class ConnectionFieldError(FinalError):
    """A connection is missing or incomplete."""

    exit = Exit.CONFIGURATION


class AuthenticationError(FinalError):
    """A server refuses the credentials."""

    exit = Exit.CONFIGURATION


class SourceError(FinalError):
    """Oracle refuses, or its data cannot be read exactly."""


class PastError(SourceError):
    """Oracle cannot read the moment that was asked for (undo, definition), or not for this user."""


class PlanError(FinalError):
    """A campaign's plan cannot be made, or cannot be used as it is."""


class TargetError(FinalError):
    """Salesforce refuses a request.

    Attributes:
        status: HTTP status of the answer.
        error_code: Salesforce's own code, such as ``INVALID_FIELD``; empty if there was none.
    """

    def __init__(self, what: str, next_step: str = "", *, status: int = 0, error_code: str = "") -> None:
        super().__init__(what, next_step)
        self.status = status
        self.error_code = error_code


class NotFoundError(TargetError):
    """The record or resource does not exist (HTTP 404)."""


class PreflightError(FinalError):
    """The table file does not fit the source or the target; every problem is listed."""

    exit = Exit.CONFIGURATION


class ConversionError(FinalError):
    """A value does not fit, or too many do not, where the table file says that the extraction must stop."""


class EditedFileError(FinalError):
    """A CSV file that somebody edited cannot be taken as it is; every line at fault is listed."""


class RunFolderError(FinalError):
    """The run's folder cannot be used."""


class LedgerError(FinalError):
    """A move that the ledger does not allow, or a ledger that does not fit the request."""


class ClaimedError(LedgerError):
    """Another process holds the slice, or has taken it over from this one."""

    exit = Exit.AT_WORK


class BalanceError(FinalError):
    """The books do not balance."""

    exit = Exit.NOT_RECONCILED


class SourceUnavailable(TransientError):
    """No answer from Oracle, or the connection was lost."""


class TargetUnavailable(TransientError):
    """No answer from Salesforce, or an answer that means "try again later"."""


class JobTimeout(TransientError):
    """A job did not end in time; it is left running and the next run follows it."""


class Paused(TransientError):
    """Nothing new is begun for now, such as when a limit of the org is used up; what has begun is finished first.

    Args:
        until: when it can go on, as far as that is known (UTC), or empty.
    """

    exit = Exit.PAUSED

    def __init__(self, what: str, next_step: str = "", *, until: str = "") -> None:
        super().__init__(what, next_step)
        self.until = until
