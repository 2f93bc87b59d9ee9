"""What Salesforce's error codes mean, in plain words.

After the list of status codes in the Object Reference
(https://developer.salesforce.com/docs/atlas.en-us.api.meta/api/sforce_api_calls_concepts_core_data_objects.htm).
"""

from __future__ import annotations

#: Error code of a failed row → what it means, and what helps.
MEANINGS: dict[str, str] = {
    "BAD_CUSTOM_ENTITY_PARENT_DOMAIN": "The record refers to a parent that cannot be its parent.",
    "CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY": "A trigger or flow of the org stopped the record; its own message says why.",
    "CANNOT_UPDATE_CONVERTED_LEAD": "The lead is converted and cannot be changed any more.",
    "DELETE_FAILED": "Salesforce could not delete the record, often because others refer to it.",
    "DUPLICATE_EXTERNAL_ID": "Several records in Salesforce have this external id; make it unique there.",
    "DUPLICATE_VALUE": "Another record already has a value that must be unique.",
    "DUPLICATES_DETECTED": "A duplicate rule of the org took the record for a copy of another one.",
    "ENTITY_IS_DELETED": "The record was deleted; it may lie in the recycle bin.",
    "ENTITY_IS_LOCKED": "An approval process holds the record locked.",
    "FIELD_CUSTOM_VALIDATION_EXCEPTION": "A validation rule of the org refuses the record; the message is the rule's own.",
    "FIELD_FILTER_VALIDATION_EXCEPTION": "The record referred to does not pass the lookup's filter.",
    "FIELD_INTEGRITY_EXCEPTION": "A value does not fit the other values of the record or of its parent.",
    "INACTIVE_OWNER_OR_USER": "The owner is a user who is not active.",
    "INSUFFICIENT_ACCESS_ON_CROSS_REFERENCE_ENTITY": "The user who loads may not use the record that is referred to.",
    "INSUFFICIENT_ACCESS_OR_READONLY": "The user who loads may not write this record.",
    "INVALID_CROSS_REFERENCE_KEY": "The record referred to does not exist or may not be seen.",
    "INVALID_EMAIL_ADDRESS": "The text is not an e-mail address.",
    "INVALID_FIELD": "A field is unknown, or the record that it refers to is not in Salesforce.",
    "INVALID_FIELD_FOR_INSERT_UPDATE": "The field may not be set.",
    "INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST": "The value is not among those of a restricted picklist.",
    "INVALID_TYPE_ON_FIELD_IN_RECORD": "The text is not a value of the field's type.",
    "LIMIT_EXCEEDED": "A limit of the org was reached.",
    "MALFORMED_ID": "An id has the wrong form.",
    "MISSING_ARGUMENT": "The external id is empty.",
    "NUMBER_OUTSIDE_VALID_RANGE": "The number has more digits than the field keeps.",
    "REQUEST_RUNNING_TOO_LONG": "Salesforce stopped because the work took too long; sending it again often helps.",
    "REQUIRED_FIELD_MISSING": "A field that must not be empty is empty.",
    "STORAGE_LIMIT_EXCEEDED": "The org's data storage is full.",
    "STRING_TOO_LONG": "The text is longer than the field.",
    "TOO_MANY_ENUM_VALUE": "More values than the multi-select picklist takes.",
    "UNABLE_TO_LOCK_ROW": "Another transaction held the record or its parent; sending the row again usually works.",
    "UNKNOWN": "The message does not begin with an error code.",
    "UNKNOWN_EXCEPTION": "An error inside Salesforce; its support needs the number in the message.",
}
_OTHER = "Salesforce's own code; the Object Reference lists it under status codes."


def meaning(code: str) -> str:
    """What an error code means, in a sentence."""
    return MEANINGS.get(code, _OTHER)
