"""The contract tests run against a live org only when they are told to, and leave it as it was. The org is fakeforce."""

import os
import re
import subprocess
import sys
from pathlib import Path

from conftest import Client

CONTRACT = Path(__file__).parent / "contract"
FIELDS = {"OBJECT": "Product2", "KEY": "ProductCode", "TEXT": "Name", "NUMBER": "TMS_Price_EXC_VAT__c"}


def run(*options, **variables):
    """pytest on the contract tests, in a process of its own."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("CONTRACT_")}
    quick = (
        "-p",
        "no:cacheprovider",
        "-p",
        "pytest_timeout",
        "--confcutdir",
        CONTRACT,
    )  # load only what is needed
    command = [sys.executable, "-m", "pytest", CONTRACT, "-q", *quick, *options]
    return subprocess.run(
        command,
        env=clean | variables | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def variables(org, **more):
    app = {"URL": org.url, "CLIENT_ID": "demo-client", "CLIENT_SECRET": "demo-secret"}
    fields = FIELDS | {"DATE": "TMS_Count_Date__c", "GROUP": "TMS_Group_Ref__c"}
    return {f"CONTRACT_{name}": value for name, value in (app | fields | more).items()}


def test_a_live_run_passes_prints_the_answers_and_deletes_its_own_rows_only(org):
    client = Client(org.url)
    client.load("ProductCode,Name\nct,not the tests'\n")
    client.http.close()
    ended = run("--live", **variables(org))
    assert ended.returncode == 0, ended.stdout
    told = ended.stdout.partition("what this org answered")[2]
    assert "Does an upload with Content-Encoding: gzip work?\n    org:       201; JobComplete, 1 rows" in told
    asked = set(
        re.findall(r'^@unverified\("(.+)"\)$', (CONTRACT / "test_contract_unverified.py").read_text(), re.M)
    )
    assert not {question for question in asked if question not in told}
    assert "DIFFERENT" not in told
    assert [row["ProductCode"] for row in org.rows("Product2")] == ["ct"]
    assert "demo-secret" not in ended.stdout


def test_an_org_that_answers_otherwise_is_shown_beside_fakeforce(org):
    org.change(gzip_upload=False)
    ended = run("--live", "-k", "gzip_upload", **variables(org))
    assert ended.returncode == 0, ended.stdout
    assert re.search(r"org:       415 .+; no job\n    fakeforce: 201; .+   <-- DIFFERENT", ended.stdout)


def test_without_the_option_the_named_org_is_not_called(org):
    ended = run("-k", "token", **variables(org))
    assert ended.returncode == 0, ended.stdout
    assert org.calls == []
    assert "what this org answered" not in ended.stdout


def test_without_all_variables_a_live_run_is_skipped_with_their_names(org):
    ended = run("--live", "-k", "token or open", **variables(org, CLIENT_SECRET="", KEY=" "))
    assert " passed" not in ended.stdout
    assert "--live needs the environment variables CONTRACT_CLIENT_SECRET, CONTRACT_KEY" in ended.stdout
    assert org.calls == []
