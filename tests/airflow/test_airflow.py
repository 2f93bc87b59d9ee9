"""The DAG in a real Airflow 3: alone, with processes of its own, and on two workers of which one is killed."""

from __future__ import annotations

import json
import os
import re
import signal
import sqlite3
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

from ora2sf.notebooks import GOOD
from place import (
    DAG,
    INSTALLED,
    PASSWORD,
    PRODUCTS,
    ROOT,
    SECRET,
    Airflow,
    Place,
    broker_and_database,
    connections,
    debian,
    elsewhere,
    family,
    kill,
    say,
    wait,
)

#: Nobody listens there: whoever asks the database fails.
NO_DATABASE = "postgresql+psycopg2://nobody@127.0.0.1:1/none"
TABLES = sorted(path.stem for path in (ROOT / "tables").glob("*.toml"))
pytestmark = pytest.mark.timeout(3_600)


# what a run leaves behind


def statuses(run: Path) -> dict[str, dict[str, Any]]:
    """Slice → what its status.json says."""
    return {
        path.parent.relative_to(run).as_posix(): json.loads(path.read_text())
        for path in sorted(run.glob("**/status.json"))
    }


def only_run(place: Place) -> Path:
    (run,) = place.outputs.iterdir()
    return run


def books(run: Path) -> Counter[str]:
    """The books of all slices together."""
    total: Counter[str] = Counter()
    for one in statuses(run).values():
        total.update(
            {n: one[n] for n in ("staged", "success", "created", "updated", "failed", "unknown", "not_sent")}
        )
    return total


def check_moved_once(run: Path, org: Any, tables: list[str]) -> None:
    """Every slice has a good verdict, and the org holds each record that was created, once."""
    found = statuses(run)
    assert {name: one["state"] for name, one in found.items() if one["state"] not in GOOD} == {}
    assert sorted(one["table"] for one in found.values()) == tables
    total = books(run)
    say(f"books of {len(found)} slices: {dict(total)}")
    assert total["created"] > 0
    assert total["unknown"] == total["not_sent"] == total["updated"] == 0  # a row sent twice would be updated
    assert total["success"] == total["created"]
    objects = {}
    for name in found:
        report = json.loads((run / name / "report.json").read_text())
        objects[report["slice"]["object"]] = 0
    held = sum(org.count(name) for name in objects)
    assert held == total["created"]


def check_no_secret(place: Place, *texts: str) -> None:
    """Neither in what was logged, nor in any file of the outputs, nor in Airflow's logs."""
    for text in texts:
        assert PASSWORD not in text
        assert SECRET not in text
    for folder in (place.outputs, place.folder / "logs"):
        for path in (one for one in folder.rglob("*") if one.is_file()):
            data = path.read_bytes()
            assert PASSWORD.encode() not in data, path
            assert SECRET.encode() not in data, path


# parsing


def test_our_share_of_the_parse_is_small_and_needs_neither_database_nor_library(tmp_path: Path) -> None:
    place = Place(tmp_path, {}, {"AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": NO_DATABASE})
    environment = place.environment({"PYTHONPATH": str(ROOT / "dags")})
    done = subprocess.run(
        [str(INSTALLED / "bin" / "python"), str(Path(__file__).with_name("parse.py"))],
        env=environment, capture_output=True, text=True, check=False, cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    took = json.loads(done.stdout.splitlines()[-1])
    say(f"parse: importing the operator {took['operator']:.2f} s, our share {took['ours']:.2f} s of CPU")
    assert took["heavy"] == []
    assert took["ours"] < 2


# airflow dags test


def test_one_table_runs_by_dags_test_and_tells_its_results(place: Place, org: Any) -> None:
    begun = time.monotonic()
    state, log = place.test(900, table="product_price", batch_size=40_000, start_batch=1)
    say(f"one table by dags test: {time.monotonic() - begun:.0f} s")
    assert state == "success", log[-3000:]
    run = only_run(place)
    check_moved_once(run, org, ["product_price"])
    check_no_secret(place, log)
    told = xcoms(place)
    assert told["phase_1.extract"]["extraction"]["rows_staged"] == books(run)["staged"]
    assert told["phase_1.upload"]["upload"]["created"] == books(run)["created"]
    assert told["phase_1.reconcile"]["balance"]["verdict"] in GOOD
    assert told["report"]["slices"] == 1
    assert all(len(json.dumps(one)) < 10_000 for one in told.values())
    assert re.fullmatch(r"manual__[\w.-]+", run.name)


def xcoms(place: Place) -> dict[str, Any]:
    """Task → what it returned."""
    with closing(sqlite3.connect(place.folder / "airflow.db")) as database:
        rows = database.execute("SELECT task_id, value FROM xcom WHERE key = 'return_value'").fetchall()
    return {task: json.loads(value) for task, value in rows}


def test_every_table_runs_by_dags_test(place: Place, org: Any) -> None:
    begun = time.monotonic()
    state, log = place.test(3_000)
    say(f"all tables by dags test: {time.monotonic() - begun:.0f} s")
    assert state == "success", log[-3000:]
    check_moved_once(only_run(place), org, TABLES)
    check_no_secret(place, log)


@pytest.mark.parametrize(
    ("conf", "words"),
    [
        ({"tabel": "product_price"}, "there is no parameter tabel"),
        ({"table": "product_price", "reserve": 200}, "reserve = 200"),
        ({"table": "nosuch"}, "There is no table nosuch"),
    ],
)
def test_a_wrong_parameter_fails_at_once_in_a_sentence(
    place: Place, conf: dict[str, Any], words: str
) -> None:
    state, log = place.test(300, **conf)
    assert state == "failed"
    assert words in log
    assert "UP_FOR_RETRY" not in log
    assert not list(place.outputs.glob("*/*/ledger.sqlite"))


def test_the_configuration_of_a_run_wins_over_a_variable(place: Place) -> None:
    place.must("variables", "set", "ora2sf_reserve", "200")
    place.must("variables", "set", "ora2sf_table", "nosuch")
    _, log = place.test(300, table="product_price", reserve=20, start_batch=0)
    assert "start_batch = 0" in log
    assert "nosuch" not in log
    assert "reserve = 200" not in log
    _, log = place.test(300, table="product_price")
    assert "reserve = '200'" in log or "reserve = 200" in log


def test_the_notebooks_run_under_the_stock_operator_too(place: Place, org: Any) -> None:
    more = {
        f"AIRFLOW_CONN_{name.upper()}": json.dumps(fields) for name, fields in place.connections.items()
    } | {"ORA2SF_HOME": str(ROOT), "STOCK_OUTPUTS": str(place.outputs)}
    dagfile = str(Path(__file__).with_name("stock.py"))
    (place.outputs / "stock").mkdir(parents=True)
    dags = {"AIRFLOW__CORE__DAGS_FOLDER": str(Path(__file__).parent)}
    done = place.run("dags", "test", "stock", "-f", dagfile, seconds=900, **more, **dags)
    log = done.stdout + done.stderr
    assert "state=success, run_type" in log, log[-3000:]
    check_moved_once(only_run(place), org, ["product_price"])


# one task


def alone(place: Place, notebook: str, parameters: dict[str, Any]) -> subprocess.Popen[str]:
    """A task's operator in a process of its own, as a worker runs it."""
    command = [str(INSTALLED / "bin" / "python"), str(Path(__file__).with_name("alone.py"))]
    process = subprocess.Popen(
        [*command, str(ROOT / "notebooks" / f"{notebook}.ipynb"), json.dumps(parameters)], stdin=subprocess.PIPE,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=place.folder,
        env=place.environment({"PYTHONPATH": f"{ROOT / 'dags'}{os.pathsep}{ROOT / 'lib'}"}),
    )  # fmt: skip
    assert process.stdin
    process.stdin.write(json.dumps(place.connections) + "\n")
    process.stdin.flush()
    return process


def test_a_task_that_is_killed_parks_its_notebook_and_the_next_one_goes_on(place: Place, org: Any) -> None:
    given = {"run_id": "r", "outputs": str(place.outputs), "table": "product_price", "batch_size": 100, "max_concurrent_jobs": 2}  # fmt: skip
    for notebook in ("00_plan", "01_extract"):
        said, _ = alone(place, notebook, given).communicate(timeout=600)
        assert '"' in said.splitlines()[-1], said[-2000:]
    org.change(job_delay=1.0)
    status = place.outputs / "r" / "product_price" / "status.json"
    for how in (signal.SIGTERM, signal.SIGKILL):
        task, before = alone(place, "02_upload", given), ended_jobs(org)
        wait(lambda before=before: ended_jobs(org) >= before + 3, 600, "the upload to be in its middle")
        noted, killed = json.loads(status.read_text()), time.monotonic()
        task.send_signal(how)
        wait(lambda: json.loads(status.read_text())["state"] == "stopped, can be resumed", 60, "it to park")
        say(f"parked {time.monotonic() - killed:.1f} s after {how.name} to its task")
        wait(lambda noted=noted: not psutil.pid_exists(noted["process"]["pid"]), 60, "the kernel to end")
        task.communicate(timeout=60)
    org.change(job_delay=0.0)
    for notebook in ("02_upload", "03_reconcile"):
        said, _ = alone(place, notebook, given).communicate(timeout=600)
    assert json.loads(said.splitlines()[-1])["balance"]["verdict"] in GOOD
    check_moved_once(place.outputs / "r", org, ["product_price"])
    check_no_secret(place, said)


# LocalExecutor


def test_every_table_runs_with_the_local_executor(place: Place, org: Any) -> None:
    with place.up("LocalExecutor") as airflow:
        say("LocalExecutor is up")
        begun = time.monotonic()
        run = airflow.trigger(outputs=str(place.outputs))
        assert airflow.finished(run, 3_000) == "success", troubles(airflow, run)
        say(f"all tables with LocalExecutor: {time.monotonic() - begun:.0f} s")
        labels = {
            one["rendered_map_index"] for one in airflow.tasks(run) if one["task_id"].endswith(".upload")
        }
        assert "product_price" in labels
    check_moved_once(only_run(place), org, TABLES)
    check_no_secret(place)


def test_a_task_that_is_stopped_parks_and_goes_on_when_it_is_cleared(place: Place, org: Any) -> None:
    org.change(job_delay=2.0)
    with place.up("LocalExecutor") as airflow:
        run = airflow.trigger(
            outputs=str(place.outputs), table="product_price", batch_size=100, max_concurrent_jobs=2
        )
        wait(lambda: ended_jobs(org) >= 3, 600, "the upload to be in its middle")
        folder = only_run(place) / "product_price"
        path = f"dags/{DAG}/dagRuns/{run}/taskInstances/phase_1.upload/0"
        airflow.call("PATCH", path, new_state="failed")
        stopped = time.monotonic()
        wait(
            lambda: json.loads((folder / "status.json").read_text())["state"] != "started", 120, "it to park"
        )
        say(f"parked {time.monotonic() - stopped:.1f} s after it was marked failed")
        noted = json.loads((folder / "status.json").read_text())
        assert noted["state"] == "stopped, can be resumed"
        wait(lambda: not psutil.pid_exists(noted["process"]["pid"]), 30, "the kernel to end")
        assert airflow.finished(run, 300) == "failed"
        org.change(job_delay=0.0)
        clear = {"dry_run": False, "dag_run_id": run, "task_ids": [["phase_1.upload", 0]], "include_downstream": True,
                 "only_failed": False, "reset_dag_runs": True}  # fmt: skip
        airflow.call("POST", f"dags/{DAG}/clearTaskInstances", **clear)
        wait(lambda: airflow.state(run) != "failed", 60, "the run to go on")
        assert airflow.finished(run, 600) == "success", troubles(airflow, run)
    check_moved_once(only_run(place), org, ["product_price"])


def ended_jobs(org: Any) -> int:
    return sum(job["state"] == "JobComplete" for job in org.jobs())


def troubles(airflow: Airflow, run: str) -> str:
    """Tasks of a run that did not come to a good end."""
    bad = [one for one in airflow.tasks(run) if one["state"] not in {"success", "skipped"}]
    return "\n".join(f"{t['task_id']}[{t['map_index']}] {t['state']} try {t['try_number']}" for t in bad)


# CeleryExecutor


@pytest.fixture
def cluster(tmp_path: Path, oracle: Any, org: Any) -> Iterator[Place]:
    """An Airflow on redis and PostgreSQL, prepared."""
    packages = debian(INSTALLED)
    if packages is None:
        pytest.skip(
            "Celery needs redis and PostgreSQL, which are taken from Debian: there is no apt-get here, or it failed"
        )
    with broker_and_database(packages) as settings:
        place = Place(tmp_path, connections(oracle, org), settings)
        say("redis and PostgreSQL are up; preparing Airflow")
        place.prepare()
        yield place


def worker(place: Place, name: str) -> Any:
    """A Celery worker as on a machine of its own, with nothing of Airflow's database."""
    command = elsewhere(name, str(INSTALLED / "bin" / "airflow"), "celery", "worker", "--concurrency", "3",
                        "--skip-serve-logs", "--celery-hostname", f"{name}@%h")  # fmt: skip
    return place.process(name, *command, AIRFLOW__DATABASE__SQL_ALCHEMY_CONN=NO_DATABASE)


def test_a_killed_worker_is_replaced_and_everything_is_moved_once(cluster: Place, org: Any) -> None:
    org.change(job_delay=1.5)
    with (
        cluster.up("CeleryExecutor") as airflow,
        worker(cluster, "worker-a") as a,
        worker(cluster, "worker-b") as b,
    ):
        say("CeleryExecutor with two workers is up")
        begun = time.monotonic()
        run = airflow.trigger(
            outputs=str(cluster.outputs),
            batch_size=100,
            max_concurrent_jobs=2,
        )
        wait(
            lambda: any(cluster.outputs.glob("*/product_price/salesforce/logs/*_success.csv")),
            900,
            "product_price to be half sent",
        )
        product = next(cluster.outputs.glob("*/product_price"))
        wait(lambda: sent(product) >= 5, 300, "product_price to be in its middle")
        before, host = claim(product), airflow.task(run, "phase_1.upload", index_of(airflow, run))["hostname"]
        victim = a if before["pid"] in {one.pid for one in family(a.pid)} else b
        say(
            f"killing {'worker-a' if victim is a else 'worker-b'} ({host}) in the middle of product_price: {sent(product)} batches sent"
        )
        number, killed = kill(victim), time.monotonic()
        say(f"killed {number} processes")
        settled = sent(product)
        assert settled < PRODUCTS // 100 - 3
        wait(
            lambda: claim(product)["fence"] > before["fence"],
            600,
            "another worker to take the slice over",
            look=0.1,
        )
        claimed = time.monotonic() - killed
        wait(lambda: sent(product) > settled, 300, "it to be sent on", look=0.1)
        say(
            f"TAKEOVER: claimed by {claim(product)['host']} after {claimed:.0f} s, sent on after {time.monotonic() - killed:.0f} s"
        )
        org.change(job_delay=0.0)
        assert airflow.finished(run, 3_000) == "success", troubles(airflow, run)
        say(f"all tables with Celery, one of two workers killed: {time.monotonic() - begun:.0f} s")
        assert airflow.task(run, "phase_1.upload", index_of(airflow, run))["try_number"] > 1
    check_moved_once(only_run(cluster), org, TABLES)
    check_no_secret(cluster)


def index_of(airflow: Airflow, run: str) -> int:
    """The map index of product_price."""
    return next(
        int(one["map_index"])
        for one in airflow.tasks(run)
        if one["task_id"] == "phase_1.extract" and one["rendered_map_index"] == "product_price"
    )


def claim(folder: Path) -> dict[str, Any]:
    """Who holds a slice, as its ledger says."""
    with closing(sqlite3.connect(f"file:{folder / 'ledger.sqlite'}?mode=ro", uri=True, timeout=30)) as ledger:
        ledger.row_factory = sqlite3.Row
        return dict(ledger.execute("SELECT * FROM claim").fetchone())


def sent(folder: Path) -> int:
    """Batches of a slice whose results were fetched."""
    with (
        suppress(sqlite3.Error),
        closing(sqlite3.connect(f"file:{folder / 'ledger.sqlite'}?mode=ro", uri=True, timeout=30)) as ledger,
    ):
        return int(ledger.execute("SELECT COUNT(*) FROM attempt WHERE state = 'fetched'").fetchone()[0])
    return 0


def test_the_environment_of_these_tests_has_no_connection_of_its_own() -> None:
    assert not [name for name in os.environ if name.startswith(("AIRFLOW_CONN_", "ORA2SF_CONNECTIONS"))]
