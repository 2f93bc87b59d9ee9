"""The records that the demo's lookups refer to and no table of the source brings: tenants and shops."""

from __future__ import annotations

from typing import Any

import requests

#: Shops of the source as ``(CON_CODE, SHOP_CODE, BRANCH_CODE)``, and the one that Salesforce does not know.
SHOPS = tuple((("1", "07", "12")[n % 3], f"{n + 3:03d}", f"{n % 2 + 1:02d}") for n in range(40))
TENANTS = ("1", "07", "12")
CLOSED_SHOP = "041"

_API = "/services/data/v66.0"
_SECONDS = 60


def seed(url: str, client_id: str, client_secret: str) -> None:
    """Upserts the tenants as Account and the shops but for the closed one as Store__c.

    Raises:
        requests.RequestException: the org cannot be reached or refuses the sign-in.
        RuntimeError: it refuses a record.
    """
    form = {"grant_type": "client_credentials", "client_id": client_id, "client_secret": client_secret}
    with requests.Session() as session:
        session.trust_env = False  # the org is on this machine: no proxy, no .netrc
        answer = session.post(f"{url}/services/oauth2/token", data=form, timeout=_SECONDS)
        answer.raise_for_status()
        session.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"
        tenants = [{"Tenant_Code__c": code, "Name": f"Tenant {code}"} for code in TENANTS]
        _upsert(session, url, "Account", "Tenant_Code__c", tenants)
        shops = [{"Store_Code__c": shop} for _, shop, _ in SHOPS if shop != CLOSED_SHOP]
        _upsert(session, url, "Store__c", "Store_Code__c", shops)


def _upsert(session: requests.Session, url: str, sobject: str, key: str, rows: list[dict[str, Any]]) -> None:
    records = [{"attributes": {"type": sobject}, **row} for row in rows]
    answer = session.patch(
        f"{url}{_API}/composite/sobjects/{sobject}/{key}", json={"records": records}, timeout=_SECONDS
    )
    answer.raise_for_status()
    if refused := [one for one in answer.json() if not one["success"]]:
        raise RuntimeError(f"The demo org refuses {len(refused)} {sobject}: {refused[0]['errors']}")
