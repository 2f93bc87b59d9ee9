"""One upsert with a public Python client: `python_clients.py CLIENT '{"url": …, "token": …, "rows": […]}'` prints what
the client hands to its user, as JSON.
"""

import asyncio
import json
import sys
from typing import Any


def kinetic_core(given: dict[str, Any]) -> dict[str, Any]:
    """kinetic-core, as its guide shows it."""
    from kinetic_core import SalesforceSession
    from kinetic_core.bulk import BulkV2Client

    session = SalesforceSession(instance_url=given["url"], access_token=given["token"], api_version="v62.0")
    done = BulkV2Client(session).upsert("Product2", given["rows"], external_id_field="ProductCode")
    return {"successful": done.success_records, "failed": done.failed_records}


def aiosalesforce(given: dict[str, Any]) -> dict[str, Any]:
    """aiosalesforce, with its own login; it accepts My Domain addresses only, so each call is sent on to the org."""
    import httpx
    from aiosalesforce import Salesforce
    from aiosalesforce.auth import ClientCredentialsFlow

    target = httpx.URL(given["url"])

    async def send_on(request: httpx.Request) -> None:
        request.url = request.url.copy_with(scheme=target.scheme, host=target.host, port=target.port)

    async def upsert() -> dict[str, Any]:
        async with httpx.AsyncClient(event_hooks={"request": [send_on]}, trust_env=False) as client:
            login = ClientCredentialsFlow(client_id="demo-client", client_secret="demo-secret")
            org = Salesforce(client, base_url="https://fake.my.salesforce.com", auth=login, version="62.0")
            done = await org.bulk_v2.upsert("Product2", given["rows"], external_id_field="ProductCode")
            return {"successful": done.successful_results, "failed": done.failed_results}

    return asyncio.run(upsert())


if __name__ == "__main__":
    program = {"kinetic-core": kinetic_core, "aiosalesforce": aiosalesforce}[sys.argv[1]]
    print(json.dumps(program(json.loads(sys.argv[2]))))
