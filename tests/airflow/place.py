"""An Airflow of its own for the tests: home, kernel, connections; its processes, and what they run on."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import requests

ROOT = Path(__file__).parents[2]
INSTALLED = ROOT / ".airflow"
DAG = "migrate_bulk_api"
PRODUCTS, LINES = 3_000, 2_000
PASSWORD = f"canary-oracle-{secrets.token_urlsafe(9)}"
SECRET = f"canary-org-{secrets.token_urlsafe(9)}"
#: The settings that decide how soon a lost worker is replaced; docs/airflow.md says what each does.
TAKEOVER = {
    "AIRFLOW__WORKERS__MIN_HEARTBEAT_INTERVAL": "5",
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "45",
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "5",
    "AIRFLOW__SCHEDULER__TASK_QUEUED_TIMEOUT": "60",
    "AIRFLOW__SCHEDULER__TASK_QUEUED_TIMEOUT_CHECK_INTERVAL": "15",
    "AIRFLOW__CELERY__TASK_ACKS_LATE": "True",
    "AIRFLOW__CELERY__WORKER_PREFETCH_MULTIPLIER": "1",
    "AIRFLOW__CELERY_BROKER_TRANSPORT_OPTIONS__VISIBILITY_TIMEOUT": "90000",
}


def say(text: str) -> None:
    """What is being done, for somebody who waits."""
    print(f"  {time.strftime('%H:%M:%S')}  {text}", file=sys.stderr, flush=True)


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def end(process: subprocess.Popen[bytes]) -> None:
    """Ends a process with all that it has started, by number."""
    tree = family(process.pid)
    process.terminate()
    _, left = psutil.wait_procs(tree, timeout=20)
    for one in left:
        with suppress(psutil.NoSuchProcess):
            one.kill()
    process.wait()


def family(pid: int) -> list[psutil.Process]:
    """A process and everything below it."""
    try:
        one = psutil.Process(pid)
        return [one, *one.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def connections(oracle: Any, org: Any) -> dict[str, dict[str, Any]]:
    """As Airflow's own database gets them."""
    return {
        "oracle_tms": {"conn_type": "oracle", "host": oracle.host, "port": oracle.port, "schema": "FREEPDB1",
                       "login": "TMS", "password": PASSWORD},
        "salesforce_api": {"conn_type": "http", "host": org.url, "login": "demo-client", "password": SECRET},
    }  # fmt: skip


@dataclass
class Place:
    """One Airflow: its folder, its environment, and what the servers are reached by.

    Attributes:
        connections: name → fields, as Airflow's database gets them: no process of Airflow has them in its environment.
    """

    folder: Path
    connections: dict[str, dict[str, Any]]
    settings: dict[str, str] = field(default_factory=dict)

    @property
    def outputs(self) -> Path:
        return self.folder / "outputs"

    def environment(self, more: Mapping[str, str] = {}) -> dict[str, str]:
        """Of every process of Airflow; nothing of the tests' own connections is in it."""
        kept = {n: v for n, v in os.environ.items() if not n.startswith(("AIRFLOW", "ORA2SF", "PYTEST"))}
        return kept | {
            "AIRFLOW_HOME": str(self.folder),
            "AIRFLOW__CORE__DAGS_FOLDER": str(ROOT / "dags"),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__CORE__DAGBAG_IMPORT_TIMEOUT": "180",  # of a machine that does all of this at once
            "AIRFLOW__DAG_PROCESSOR__DAG_FILE_PROCESSOR_TIMEOUT": "240",
            "AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "3600",
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "True",
            "AIRFLOW__LOGGING__BASE_LOG_FOLDER": str(self.folder / "logs"),
            "JUPYTER_PATH": str(self.folder / "share" / "jupyter"),
            "PYTHONPATH": str(ROOT / "lib"),
            "PATH": f"{INSTALLED / 'bin'}{os.pathsep}{os.environ['PATH']}",
        } | TAKEOVER | self.settings | dict(more)  # fmt: skip

    def run(self, *command: str, seconds: float = 300, **more: str) -> subprocess.CompletedProcess[str]:
        """A command of Airflow."""
        return subprocess.run(
            [str(INSTALLED / "bin" / "airflow"), *command], env=self.environment(more), timeout=seconds,
            capture_output=True, text=True, check=False, cwd=self.folder,
        )  # fmt: skip

    def must(self, *command: str, **options: Any) -> str:
        """The output of a command that has to go well."""
        done = self.run(*command, **options)
        assert done.returncode == 0, f"airflow {' '.join(command)}:\n{(done.stdout + done.stderr)[-3000:]}"
        return done.stdout + done.stderr

    def prepare(self, database: Path | None = None) -> None:
        """Database, kernel, pools and connections, by the commands of docs/airflow.md; what takes long may be copied."""
        if database:
            shutil.copyfile(database, self.folder / "airflow.db")
        else:
            self.must("db", "migrate")
            pools = {"ora2sf_extract": 2, "ora2sf_load": 4}
            told = {"description": "slices at once", "include_deferred": False}
            self._import("pools", {name: {"slots": slots, **told} for name, slots in pools.items()})
        register = [
            sys.executable,
            "-m",
            "ipykernel",
            "install",
            "--prefix",
            str(self.folder),
            "--name",
            "ora2sf",
        ]
        subprocess.run(register, check=True, capture_output=True)
        if self.connections:
            self._import("connections", self.connections)

    def _import(self, what: str, entries: dict[str, dict[str, Any]]) -> None:
        given = self.folder / f"{what}.json"
        given.write_text(json.dumps(entries))
        self.must(what, "import", str(given))
        given.unlink()

    def test(self, seconds: float, **conf: Any) -> tuple[str, str]:
        """``airflow dags test``; the run's state, and all that was logged."""
        given = {"outputs": str(self.outputs)} | conf
        done = self.run("dags", "test", DAG, "--conf", json.dumps(given), seconds=seconds)
        log = done.stdout + done.stderr
        state = next((word for word in ("success", "failed") if f"state={word}, run_type" in log), "unknown")
        return state, log

    @contextmanager
    def process(self, name: str, *command: str, **more: str) -> Iterator[subprocess.Popen[bytes]]:
        """A process of Airflow, which ends with the block."""
        with (self.folder / f"{name}.log").open("ab") as log:
            process = subprocess.Popen(
                command, env=self.environment(more), stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                cwd=self.folder, start_new_session=True,
            )  # fmt: skip
        try:
            yield process
        finally:
            end(process)

    @contextmanager
    def up(self, executor: str, **more: str) -> Iterator[Airflow]:
        """API server, scheduler and DAG processor."""
        port = free_port()
        url = f"http://127.0.0.1:{port}"
        self.settings |= {
            "AIRFLOW__CORE__EXECUTOR": executor,
            "AIRFLOW__API__HOST": "127.0.0.1",
            "AIRFLOW__API__PORT": str(port),
            "AIRFLOW__API__WORKERS": "1",
            "AIRFLOW__API__BASE_URL": url,
            "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{url}/execution/",
            "AIRFLOW__API_AUTH__JWT_SECRET": secrets.token_urlsafe(64),
            "AIRFLOW__CORE__PARALLELISM": "4",
        } | more  # fmt: skip
        airflow = str(INSTALLED / "bin" / "airflow")
        with ExitStack() as running:
            # the scheduler's server of logs would listen on every address
            for name, *options in (("api-server",), ("dag-processor",), ("scheduler", "--skip-serve-logs")):
                running.enter_context(self.process(name, airflow, name, *options))
            one = Airflow(url)
            one.wait_for_dag()
            yield one


@dataclass
class Airflow:
    """A running Airflow, over its REST API."""

    url: str
    _http: requests.Session = field(default_factory=requests.Session)

    def call(self, method: str, path: str, **body: Any) -> dict[str, Any]:
        answer = self._http.request(method, f"{self.url}/api/v2/{path}", json=body or None, timeout=60)
        assert answer.ok, f"{method} {path}: {answer.status_code} {answer.text[:500]}"
        found: dict[str, Any] = answer.json()
        return found

    def wait_for_dag(self, seconds: float = 180) -> None:
        self._http.trust_env = False
        wait(lambda: self._sign_in() and self._knows_dag(), seconds, "Airflow to know the DAG")
        self.call("PATCH", f"dags/{DAG}", is_paused=False)

    def _sign_in(self) -> bool:
        with suppress(requests.RequestException):
            answer = self._http.get(f"{self.url}/auth/token", timeout=10)
            if answer.ok:
                self._http.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"
                return True
        return False

    def _knows_dag(self) -> bool:
        answer = self._http.get(f"{self.url}/api/v2/dags/{DAG}", timeout=30)
        return answer.ok

    def trigger(self, **conf: Any) -> str:
        made = self.call("POST", f"dags/{DAG}/dagRuns", conf=conf, logical_date=None)
        return str(made["dag_run_id"])

    def state(self, run: str) -> str:
        return str(self.call("GET", f"dags/{DAG}/dagRuns/{run}")["state"])

    def tasks(self, run: str) -> list[dict[str, Any]]:
        found = self.call("GET", f"dags/{DAG}/dagRuns/{run}/taskInstances?limit=1000")["task_instances"]
        return list(found)

    def task(self, run: str, task_id: str, index: int = -1) -> dict[str, Any]:
        return next(t for t in self.tasks(run) if (t["task_id"], t["map_index"]) == (task_id, index))

    def finished(self, run: str, seconds: float) -> str:
        """The state in which a run ends."""
        wait(lambda: self.state(run) in {"success", "failed"}, seconds, f"run {run} to end", look=2.0)
        return self.state(run)


def wait(what: Any, seconds: float, meant: str, look: float = 0.25) -> Any:
    """Asks until the answer is yes; an error if it stays no for so long."""
    ends, pause = time.monotonic() + seconds, threading.Event()
    while not (found := what()):
        assert time.monotonic() < ends, f"Waited {seconds:.0f} s for {meant}"
        pause.wait(look)
    return found


# what a real cluster stands on


def debian(folder: Path) -> Path | None:
    """redis and PostgreSQL of Debian, unpacked beside the project and not installed; None where there is no apt."""
    if not shutil.which("apt-get") or not shutil.which("dpkg"):
        return None
    place = folder / "debian"
    if not (place / ".done").exists():
        say("downloading redis and PostgreSQL from Debian")
        (place / "debs" / "partial").mkdir(parents=True, exist_ok=True)
        options = ["-o", f"Dir::Cache::archives={place / 'debs'}", "-o", "Debug::NoLocking=1"]
        names = ["redis-server", "postgresql"]
        get = ["apt-get", *options, "--download-only", "--no-install-recommends", "-y", "install", *names]
        if subprocess.run(get, capture_output=True, check=False).returncode:
            return None
        for package in (place / "debs").glob("*.deb"):
            subprocess.run(["dpkg", "-x", str(package), str(place)], check=True)
        (place / ".done").touch()
    return place


def program(name: str, place: Path) -> Path:
    """A program of a package that was unpacked, or is installed."""
    for pattern in (f"usr/bin/{name}", f"usr/lib/postgresql/*/bin/{name}"):
        for root in (place, Path("/")):
            if found := sorted(root.glob(pattern)):
                return found[-1]
    raise AssertionError(f"There is no {name}: neither unpacked in {place} nor installed")


@contextmanager
def broker_and_database(place: Path) -> Iterator[dict[str, str]]:
    """redis and PostgreSQL on loopback; the settings of Airflow that point at them."""
    libraries = os.pathsep.join(str(path) for path in place.glob("usr/lib/*-linux-gnu"))
    environment = os.environ | {"LD_LIBRARY_PATH": libraries}
    user = "nobody" if os.getuid() == 0 else None  # PostgreSQL refuses the root user
    with ExitStack() as running:
        folder = Path(running.enter_context(tempfile.TemporaryDirectory(prefix="postgres-")))
        if user:
            shutil.chown(folder, user)
        redis, postgres = free_port(), free_port()
        data = folder / "data"
        subprocess.run(
            [str(program("initdb", place)), "-D", str(data), "-A", "trust", "-U", "airflow"],
            check=True, capture_output=True, user=user, env=environment, cwd=folder,
        )  # fmt: skip
        commands: list[tuple[list[str], str | None]] = [
            ([str(program("postgres", place)), "-D", str(data), "-p", str(postgres),
              "-c", "listen_addresses=127.0.0.1", "-c", f"unix_socket_directories={folder}"], user),
            ([str(program("redis-server", place)), "--bind", "127.0.0.1", "--port", str(redis), "--save", "",
              "--appendonly", "no"], None),
        ]  # fmt: skip
        for command, who in commands:
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                user=who, env=environment, cwd=folder, start_new_session=True,
            )  # fmt: skip
            running.callback(end, process)
        for port in (redis, postgres):
            wait(lambda port=port: _listens(port), 30, "redis and PostgreSQL")
        address = f"postgresql+psycopg2://airflow@127.0.0.1:{postgres}/postgres"
        yield {
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": address,
            "AIRFLOW__CELERY__BROKER_URL": f"redis://127.0.0.1:{redis}/0",
            "AIRFLOW__CELERY__RESULT_BACKEND": f"db+{address}",
        }


def _listens(port: int) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


#: Gives a process another host name, so that its slices look as if they were on another machine.
_ELSEWHERE = "import os, socket, sys; socket.sethostname(sys.argv[1]); os.execv(sys.argv[2], sys.argv[2:])"


def elsewhere(host: str, *command: str) -> list[str]:
    """A command as on a machine of that name, where the system lets us; else as it is."""
    wrapped = [
        "unshare",
        "--uts",
        *([] if os.getuid() == 0 else ["--map-root-user"]),
        sys.executable,
        "-c",
        _ELSEWHERE,
        host,
    ]
    probe = subprocess.run([*wrapped, shutil.which("true") or "true"], capture_output=True, check=False)
    return [*wrapped, *command] if probe.returncode == 0 else list(command)


def kill(process: subprocess.Popen[bytes]) -> int:
    """SIGKILL to a process and everything below it, kernels included, at once; how many there were."""
    tree = family(process.pid)
    for one in tree:
        with suppress(psutil.NoSuchProcess):
            one.send_signal(signal.SIGSTOP)  # so that nobody starts anything, or says anything, in between
    tree = list({one.pid: one for one in [*tree, *family(process.pid)]}.values())
    for one in tree:
        with suppress(psutil.NoSuchProcess):
            one.kill()
    return len(tree)
