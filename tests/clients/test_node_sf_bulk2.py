"""node-sf-bulk2, a small Node client that joins contentUrl to the instance URL by itself."""

import json

from conftest import HERE, table


def test_an_upsert_is_uploaded_to_the_jobs_content_url_and_read_back(machine, org, load):
    asked = {"url": org.url, "token": org.token, "data": load.csv()}
    found = json.loads(machine.run("node", HERE / "node-sf-bulk2.cjs", json.dumps(asked)).stdout)
    assert found["uploaded"] == 201
    assert (found["info"]["numberRecordsProcessed"], found["info"]["numberRecordsFailed"]) == (4, 2)
    successful, failed, unprocessed = map(table, found["results"])
    load.check_results(successful, failed)
    assert unprocessed == []
    assert found["listed"] is True
    load.check_org(org)
