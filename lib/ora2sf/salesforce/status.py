"""The status record: where a file stands, visible to the people who work in Salesforce.

sObject Rows by External ID
(https://developer.salesforce.com/docs/atlas.en-us.api_rest.meta/api_rest/resources_sobject_upsert.htm).
"""

from __future__ import annotations

import re
from typing import Literal, get_args
from urllib.parse import quote

from ora2sf.errors import NotFoundError, ParameterError
from ora2sf.salesforce.rest import SalesforceClient

Status = Literal["New", "Uploading", "In Progress", "Uploaded", "Failed"]
#: Most characters of a reference.
MOST_REFERENCE = 80
_REF = re.compile(rf"[A-Za-z0-9_]{{1,{MOST_REFERENCE}}}")
_ERRORS_LENGTH = 255


class SalesforceStatusTracker:
    """Writes the status of one file after another.

    Args:
        client: the org.
        sobject, external_id_field, status_field, errors_field: where the status is kept.
    """

    def __init__(
        self,
        client: SalesforceClient,
        *,
        sobject: str = "TMS_Daily_Sales_File__c",
        external_id_field: str = "TMS_External_File_Ref__c",
        status_field: str = "TMS_Status__c",
        errors_field: str = "TMS_Errors__c",
    ) -> None:
        self._client = client
        self._path = f"/sobjects/{sobject}/{external_id_field}"
        self._status_field, self._errors_field = status_field, errors_field

    def upsert_status(
        self, external_ref: str, status: Status, *, errors: str | None = "", **fields: str
    ) -> bool:
        """Sets the status, creating the record if it is missing; True when it was created.

        Args:
            external_ref: letters, digits and ``_``; it stands in the address of the call.
            errors: text for the errors field, cut to its length; empty leaves the field alone, None empties it.
            fields: further fields of the record.

        Raises:
            ParameterError: the reference or the status is not allowed.
        """
        values = self._values(status, errors) | fields
        answer = self._client.send("PATCH", self._address(external_ref, status), json=values)
        return answer.status_code == 201

    def update_status(self, external_ref: str, status: Status, *, errors: str | None = "") -> None:
        """Sets the status of a record that exists; ``errors`` as for :meth:`upsert_status`.

        Raises:
            NotFoundError: there is no such record; nothing was created.
        """
        try:
            self._client.send(
                "PATCH",
                self._address(external_ref, status),
                json=self._values(status, errors),
                params={"updateOnly": "true"},
            )
        except NotFoundError as error:
            raise NotFoundError(
                f"There is no status record with the reference {external_ref}.",
                "Upsert it first: run 01_extract with the same run_id and external_ref, or call upsert_status.",
                status=error.status,
                error_code=error.error_code,
            ) from None

    def _values(self, status: Status, errors: str | None) -> dict[str, str | None]:
        values: dict[str, str | None] = {self._status_field: status}
        if errors != "":
            values[self._errors_field] = errors and errors[:_ERRORS_LENGTH]
        return values

    def _address(self, external_ref: str, status: str) -> str:
        check_reference(external_ref)
        if status not in get_args(Status):
            raise ParameterError(f"'{status}' is no status.", f"Use one of {', '.join(get_args(Status))}.")
        return f"{self._path}/{quote(external_ref, safe='')}"


def check_reference(external_ref: str) -> None:
    """Refuses a reference that cannot stand in an address.

    Raises:
        ParameterError: it is not made of letters, digits and ``_``, or too long.
    """
    if not _REF.fullmatch(external_ref):
        raise ParameterError(
            f"external_ref {external_ref!r} cannot be used in an address.",
            f"Use 1 to {MOST_REFERENCE} letters, digits and _; no dots, blanks or slashes.",
        )
