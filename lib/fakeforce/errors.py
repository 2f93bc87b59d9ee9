"""What can go wrong, as values: one refused row, one refused call, one failed job.

FakeforceError
├── SchemaError   a schema file cannot be used
├── ApiError      a call is answered with an error status and Salesforce's JSON array
└── JobFailure    a job ends in state Failed with an errorMessage
"""

from __future__ import annotations

from typing import NamedTuple


class FakeforceError(Exception):
    """Root of this package's errors."""


class SchemaError(FakeforceError):
    """A schema file is wrong; the text names the file and the key."""


class ApiError(FakeforceError):
    """A call that is answered with an HTTP error and a JSON array of {message, errorCode[, fields]}."""

    def __init__(self, status: int, code: str, message: str, fields: tuple[str, ...] | None = None) -> None:
        super().__init__(f"{status} {code}: {message}")
        self.status, self.code, self.message, self.fields = status, code, message, fields
        self.headers: dict[str, str] = {}

    def body(self) -> list[dict[str, object]]:
        """The array Salesforce sends (REST guide: Status Codes and Error Responses)."""
        item: dict[str, object] = {"message": self.message, "errorCode": self.code}
        if self.fields is not None:
            item["fields"] = list(self.fields)
        return [item]


class JobFailure(FakeforceError):
    """A whole job fails; ``str()`` is the errorMessage, ``Code : text`` (seen)."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(f"{code} : {text}")


class RowError(NamedTuple):
    """Why one row is refused."""

    code: str
    message: str
    fields: tuple[str, ...] = ()

    def bulk_text(self) -> str:
        """The sf__Error cell: ``CODE:message:Field1,Field2 --``, or ``CODE:message:--`` (seen)."""
        tail = f"{','.join(self.fields)} --" if self.fields else "--"
        return f"{self.code}:{self.message}:{tail}"


def not_found(message: str = "The requested resource does not exist") -> ApiError:
    """404 for an unknown object, row, job or path (Bulk API 2.0 guide: Get Information About a Job)."""
    return ApiError(404, "NOT_FOUND", message)
