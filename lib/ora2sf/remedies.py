"""What helps against each reason for which a row failed or was rejected: which of the three ways of ``04_retry``, or something in the org.

The meanings of the codes stand in :mod:`ora2sf.meanings`.
"""

from __future__ import annotations

from ora2sf.meanings import meaning

#: The code of rows that were refused before the upload.
REJECTED = "REJECTED"
_AGAIN = 'then fix = "table" sends the rows again, with the table file as it is'
_ORG = f"Correct it in the org; {_AGAIN}."
_VALUE = 'Change the field\'s rule in the table file (fix = "table"), or edit the values (fix = "csv").'

#: Error code → what to do.
REMEDIES: dict[str, str] = {
    "CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY": f"Correct the trigger or flow; {_AGAIN}.",
    "DELETE_FAILED": "Roll back first what refers to these records.",
    "DUPLICATE_EXTERNAL_ID": f"Merge the records in the org; {_AGAIN}.",
    "DUPLICATE_VALUE": 'Edit the value (fix = "csv"), or correct the other record in the org.',
    "DUPLICATES_DETECTED": f"Switch the duplicate rule off for the run-as user, or exclude the rows; else {_AGAIN}.",
    "ENTITY_IS_DELETED": f"Take the record out of the recycle bin, or empty it; {_AGAIN}.",
    "FIELD_CUSTOM_VALIDATION_EXCEPTION": 'Edit the values (fix = "csv"), or correct the rule in the org.',
    "INACTIVE_OWNER_OR_USER": _ORG,
    "INSUFFICIENT_ACCESS_ON_CROSS_REFERENCE_ENTITY": _ORG,
    "INSUFFICIENT_ACCESS_OR_READONLY": _ORG,
    "INVALID_CROSS_REFERENCE_KEY": f"Load the records referred to; {_AGAIN}.",
    "INVALID_EMAIL_ADDRESS": _VALUE,
    "INVALID_FIELD": f"Load the records referred to; {_AGAIN}. A value of a wrong type: {_VALUE[0].lower()}{_VALUE[1:]}",
    "INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST": f"Add the value to the picklist of the org, or: {_VALUE[0].lower()}{_VALUE[1:]}",
    "INVALID_TYPE_ON_FIELD_IN_RECORD": _VALUE,
    "NOT_FOUND": "Create the record, or exclude the row.",
    "NUMBER_OUTSIDE_VALID_RANGE": _VALUE,
    "REQUIRED_FIELD_MISSING": _VALUE,
    "STORAGE_LIMIT_EXCEEDED": f"Make room in the org; {_AGAIN}.",
    "STRING_TOO_LONG": _VALUE,
    "TOO_MANY_ENUM_VALUE": _VALUE,
    "UNABLE_TO_LOCK_ROW": 'fix = "table" sends the rows again, with the table file as it is.',
}


def explained(code: str) -> str:
    """What a code means, in a sentence."""
    if code == REJECTED:
        return "The row was refused before the upload: a value does not fit its field, or another row has its key."
    if code == "NOT_FOUND":
        return "No record has this key, and an update creates none."
    return meaning(code)


def remedy(code: str, reason: str = "") -> str:
    """What to do about a code; ``reason``: the rule of a rejected row."""
    if code != REJECTED:
        return REMEDIES.get(code, f"Read the message. {_VALUE}")
    if reason.startswith("duplicate key"):
        return 'Nothing, if the row that counts is the right one; exclude it (fix = "exclude"). Another choice needs a new run_id.'
    if reason.startswith("empty key"):
        return 'Correct the source and use a new run_id, or exclude the row (fix = "exclude").'
    return _VALUE
