"""Why rows and jobs fail, and whether they would fail again: the one list of codes that decides it.

Codes of rows: SOAP API guide, Core Data Types Used in API Calls: StatusCode
(https://developer.salesforce.com/docs/atlas.en-us.api.meta/api/sforce_api_calls_concepts_core_data_objects.htm).
Codes of jobs: Bulk API 2.0 guide, Errors.
"""

from __future__ import annotations

import re
from typing import Literal

#: A row that failed for one of these may pass when it is sent again.
PASSING = frozenset(
    {
        "UNABLE_TO_LOCK_ROW",  # somebody else held the record or its parent
        "TOO_MANY_APEX_REQUESTS",
        "REQUEST_RUNNING_TOO_LONG",
        "REQUEST_LIMIT_EXCEEDED",
        "SERVER_UNAVAILABLE",
        "UNKNOWN_EXCEPTION",  # "an internal error": not about the data
        "STORAGE_LIMIT_EXCEEDED",  # rows of a job that filled the org; room may be made
    }
)
#: When every row of a job fails for one of these, so will those of the next: code → what to do.
HOPELESS = {
    "STORAGE_LIMIT_EXCEEDED": "Delete records that nobody needs, or buy data storage",
    "LIMIT_EXCEEDED": "Make room for the limit that the message names",
    "INSUFFICIENT_ACCESS": "Give the run-as user access to the object and its fields",
    "INSUFFICIENT_ACCESS_OR_READONLY": "Give the run-as user access to the object and its fields",
    "INVALID_FIELD_FOR_INSERT_UPDATE": "Give the run-as user the right to write the field that the message names",
    "OP_WITH_INVALID_USER_TYPE_EXCEPTION": "Use another run-as user or owner",
}
#: A job with such an error would fail again.
_JOB_FINAL = frozenset(
    {
        "ClientInputError",
        "FeatureNotEnabled",
        "InvalidBatch",
        "InvalidEntity",
        "InvalidJob",
        "InvalidOperation",
        "InvalidUrl",
        "InvalidUser",
        "InvalidXML",
        "MethodNotAllowed",
    }
)
_RETRIED = re.compile(r"\bretried more than\b", re.IGNORECASE)

Failure = Literal["passing", "final", "quota"]


def of_job(message: str) -> Failure:
    """What a job's ``errorMessage`` (``Code : text``) says: whether the next try fails as well.

    A batch that was tried too often (more than 20 times: Bulk API 2.0 guide, How Requests Are Processed) may pass later.
    ``quota``: the day's allocation is used up. What is not known may pass.
    """
    found = re.match(r"(?:null:)?(\w+)", message)
    code = found[1] if found else ""
    if code == "ExceededQuota":
        return "quota"
    return "final" if code in _JOB_FINAL and not _RETRIED.search(message) else "passing"
