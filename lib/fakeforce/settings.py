"""What can be switched while the org runs (admin path: POST /fakeforce/settings)."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Any

from .errors import FakeforceError

MAX_NUMBER = 1_000_000_000  # of any setting; as seconds, 31 years
CHOICES = {
    "expiry_form": ("session", "jwt"),
    "token_error": ("", "authentication-failure", "flow-not-enabled", "rate-exceeded"),
}


@dataclass
class Settings:
    """Switches; a comment says what each one stands for."""

    keep_rows: bool = (
        True  # false, to measure clients: rows count as written and are forgotten, results are the sent lines
    )
    trim_text: bool = True  # blanks around text values are not stored (assumed)
    gzip_upload: bool = (
        True  # the CSV upload is decompressed when it says Content-Encoding: gzip, else refused
    )
    job_delay: float = 0.0  # seconds of org time between UploadComplete and the first batch
    hold_jobs: bool = False  # jobs go to InProgress and stay there
    hold_after_batches: int = 0  # how many internal batches a held job may still do
    expire_after: float = 7200.0  # seconds of org time a new token lives
    expiry_form: str = "session"  # of a 401; "session": INVALID_SESSION_ID, "jwt": INVALID_AUTH_HEADER
    wrong_domain: bool = False  # the token host is not the org's My Domain
    run_as_user: bool = True  # the app has a user to run as
    token_error: str = ""  # a refusal of the token endpoint by name: auth.REFUSALS
    max_api_requests: int = 1_000_000  # DailyApiRequests
    max_batches: int = 15_000  # DailyBulkApiBatches, rolling 24 hours (limits)
    max_records: int = 150_000_000  # records in the same 24 hours (limits)
    max_query_jobs: int = 10_000  # DailyBulkV2QueryJobs, rolling 24 hours (limits)
    query_page_rows: int = (
        250_000  # rows of a page of query results that is asked for without maxRecords (assumed)
    )
    hard_delete: bool = False  # the user has the permission "Bulk API Hard Delete"
    row_locks: bool = False  # running jobs that write children of one parent get in each other's way
    max_upload_bytes: int = 150_000_000  # Bulk API 2.0 guide: Upload Job Data

    def change(self, given: dict[str, Any]) -> None:
        """Set the given switches. Raises FakeforceError for an unknown name or a wrong type."""
        known = {f.name: type(getattr(self, f.name)) for f in fields(self)}
        for name, sent in given.items():
            value = sent
            kind = known.get(name)
            if kind is None:
                raise FakeforceError(f"unknown setting {name!r} (known: {', '.join(known)})")
            if kind is float and isinstance(value, int) and not isinstance(value, bool):
                value = float(value)
            if name in CHOICES and value not in CHOICES[name]:
                known_values = ", ".join(map(repr, CHOICES[name]))
                raise FakeforceError(f"setting {name!r} must be one of {known_values} and is {value!r}")
            if type(value) is not kind:
                raise FakeforceError(f"setting {name!r} must be of type {kind.__name__} and is {value!r}")
            if isinstance(value, (int, float)) and not 0 <= value <= MAX_NUMBER:
                raise FakeforceError(f"setting {name!r} must be from 0 to {MAX_NUMBER} and is {value!r}")
        for name, value in given.items():
            setattr(self, name, known[name](value))

    def shown(self) -> dict[str, Any]:
        """All switches by name."""
        return asdict(self)
