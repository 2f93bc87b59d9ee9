"""The error tree. The first line of a message says what failed; the last says what to do next.

Ora2sfError
├── FinalError            trying again changes nothing until somebody acts
│   ├── ParameterError    a notebook parameter is missing, unknown or of the wrong kind
│   ├── TableFileError    a file in tables/ cannot be read or is not valid
│   ├── MappingFileError  a mapping of Data Loader, or a saved describe, cannot be used
│   ├── ConnectionFieldError  a connection is missing or incomplete
│   ├── AuthenticationError   a server refuses the credentials
│   ├── SourceError       Oracle refuses, or its data cannot be read exactly
│   ├── TargetError       Salesforce refuses a request
│   │   └── NotFoundError the record or resource does not exist
│   ├── PreflightError    the table file does not fit the source or the target
│   ├── ConversionError   a value does not fit, or too many do not, where the table file says that it must stop
│   ├── EditedFileError   a CSV file that somebody edited cannot be taken as it is; every line at fault is listed
│   ├── RunFolderError    the run's folder cannot be used
│   ├── LedgerError       a move that the ledger does not allow
│   └── BalanceError      the books do not balance
└── TransientError        the same call may succeed later
    ├── SourceUnavailable     no answer from Oracle
    ├── TargetUnavailable     no answer from Salesforce, or "try again later"
    ├── JobTimeout            a job did not end in time; it is left running
    └── Paused                nothing new is begun for now; what has begun is finished first
"""

from __future__ import annotations


class Ora2sfError(Exception):
    """What failed, what it means, and the next step.

    Args:
        what: one sentence, without a secret in it.
        next_step: what the operator should do now.
    """

    def __init__(self, what: str, next_step: str = "") -> None:
        self.what = what
        self.next_step = next_step
        super().__init__(f"{what}\nNext step: {next_step}" if next_step else what)


class FinalError(Ora2sfError):
    """Trying again changes nothing until somebody acts."""


class TransientError(Ora2sfError):
    """The same call may succeed later."""


class ParameterError(FinalError):
    """A notebook parameter is missing, unknown or of the wrong kind."""


class TableFileError(FinalError):
    """A table file cannot be read or is not valid."""


class MappingFileError(FinalError):
    """A mapping of Data Loader, or a saved describe, cannot be used; every line at fault is listed."""


class ConnectionFieldError(FinalError):
    """A connection is missing or incomplete."""


class AuthenticationError(FinalError):
    """A server refuses the credentials."""


class SourceError(FinalError):
    """Oracle refuses, or its data cannot be read exactly."""


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


class ConversionError(FinalError):
    """A value does not fit, or too many do not, where the table file says that the extraction must stop."""


class EditedFileError(FinalError):
    """A CSV file that somebody edited cannot be taken as it is; every line at fault is listed."""


class RunFolderError(FinalError):
    """The run's folder cannot be used."""


class LedgerError(FinalError):
    """A move that the ledger does not allow, or a ledger that does not fit the request."""


class BalanceError(FinalError):
    """The books do not balance."""


class SourceUnavailable(TransientError):
    """No answer from Oracle, or the connection was lost."""


class TargetUnavailable(TransientError):
    """No answer from Salesforce, or an answer that means "try again later"."""


class JobTimeout(TransientError):
    """A job did not end in time; it is left running and the next run follows it."""


class Paused(TransientError):
    """Nothing new is begun for now, such as when a limit of the org is used up; what has begun is finished first."""
