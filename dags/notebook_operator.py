"""PapermillOperator for this project's notebooks: the same, but in a process of the project's own environment.

That process (``python -m ora2sf.worker``) is Python of the kernel that ``kernel_name`` names, so notebook, papermill and the
engine ``ora2sf`` are those of the project's lock and Airflow's environment needs none of it. Beside the stock operator this one

- hands the connections over that a notebook needs, in the environment of that process and nowhere else, and keeps
  everything of Airflow's own configuration (``AIRFLOW__…``: database, keys, broker) away from it;
- parks: a task that is killed, cleared or timed out lets the notebook end where it can go on, and so does a worker that is
  gone, because the process ends when the task does;
- retries what may pass, fails at once what somebody has to put right, and comes back when the org has room again;
- returns what the notebook recorded (its scraps) as the task's XCom.
"""

from __future__ import annotations

import datetime as dt
import json
import os
import subprocess
import tempfile
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from airflow.providers.papermill.operators.papermill import PapermillOperator
from airflow.sdk import BaseHook
from airflow.sdk.exceptions import (
    AirflowException,
    AirflowFailException,
    AirflowNotFoundException,
    AirflowRescheduleException,
)

if TYPE_CHECKING:
    from airflow.sdk import Context

#: The connections of each notebook: parameter → its default; empty: only if it is given.
_SOURCE, _TARGET = {"oracle_conn_id": "oracle_tms"}, {"sf_conn_id": "salesforce_api"}
_TOLD = {"webhook": ""}
_CONNECTIONS = {
    "00_plan": _SOURCE | _TARGET,
    "01_extract": _SOURCE | _TARGET | _TOLD,
    "02_upload": _TARGET | _TOLD,
    "03_reconcile": _TARGET | _TOLD,
}
#: What of Airflow a notebook may know: which task runs it.
_CONTEXT = "AIRFLOW_CTX_"
#: Seconds that a notebook has to park. Airflow itself kills the task after five; the process then goes on parking alone.
_GRACE = 60


class NotebookOperator(PapermillOperator):
    """Runs one of the project's notebooks for one slice, or for a campaign.

    Args:
        input_nb: the notebook in ``notebooks/``; its name says what is done.
        parameters: of the campaign or of the slice; the notebook's folder follows from them, so there is no ``output_nb``.
        kernel_name: a kernel of the project's environment.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._process: subprocess.Popen[str] | None = None

    def execute(self, context: Context) -> dict[str, Any]:
        """Runs the notebook; what it recorded, as small JSON."""
        if not isinstance(self.parameters, dict):
            raise AirflowFailException("There are no parameters: the task that makes them came to no end.")
        notebook = Path(str(self.input_nb)).stem
        context["slice"] = _label(self.parameters)  # what map_index_template shows
        command = [_python(self.kernel_name), "-m", "ora2sf.worker", notebook, json.dumps(self.parameters)]
        ended = self._run(command, self._environment(notebook))
        if ended["exit"] == 0:
            return ended["value"]
        if ended["until"]:
            until = dt.datetime.fromisoformat(ended["until"])
            self.log.warning("This is no failure: it goes on at %s.", ended["until"])
            raise AirflowRescheduleException(max(until, dt.datetime.now(dt.UTC) + dt.timedelta(seconds=10)))
        raise (AirflowException if ended["again"] else AirflowFailException)(ended["why"])

    def _run(self, command: list[str], environment: dict[str, str]) -> dict[str, Any]:
        """Runs the process to its end, whatever happens to this one; the line that it said at last."""
        with tempfile.TemporaryFile("w+", encoding="utf-8") as told:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,  # its other end is open as long as this task lives
                stdout=told,
                stderr=subprocess.PIPE,
                env=environment,
                text=True,
                errors="replace",
                start_new_session=True,  # what ends this task must not end it before it has parked
            )
            with self._process as process:
                try:
                    for line in process.stderr or ():
                        self.log.info("%s", line.rstrip())
                    process.wait()
                finally:
                    self.on_kill()
            return _said(told, process.returncode)

    def on_kill(self) -> None:
        """Lets the notebook end where it can go on, and waits for it as long as it is let."""
        process = self._process
        if process is None or process.poll() is not None:
            return
        self.log.warning("The notebook is told to end where it can go on.")
        process.terminate()
        try:
            process.wait(timeout=_GRACE)
        except subprocess.TimeoutExpired:
            process.kill()

    def _environment(self, notebook: str) -> dict[str, str]:
        """This task's environment without Airflow's own, with the connections that the notebook needs."""
        kept = {
            name: value
            for name, value in os.environ.items()
            if name.startswith(_CONTEXT) or not name.lstrip("_").startswith("AIRFLOW")
        }
        for parameter, default in _CONNECTIONS.get(notebook, {}).items():
            conn_id = str(self.parameters.get(parameter) or default)
            if not conn_id:
                continue
            try:
                kept[f"AIRFLOW_CONN_{conn_id.upper()}"] = BaseHook.get_connection(conn_id).as_json()
            except AirflowNotFoundException:
                self.log.info("Airflow has no connection %s; the project's connections.toml may have it.", conn_id)  # fmt: skip
        return kept


def _python(kernel_name: str | None) -> str:
    """Python of a kernel.

    Raises:
        AirflowFailException: this worker has no such kernel.
    """
    from jupyter_client.kernelspec import KernelSpecManager, NoSuchKernel

    try:
        return str(KernelSpecManager().get_kernel_spec(kernel_name).argv[0])
    except NoSuchKernel:
        raise AirflowFailException(
            f"This worker has no kernel {kernel_name!r}. Register it with the project's own Python: "
            f"python -m ipykernel install --prefix DIR --name {kernel_name}, and JUPYTER_PATH=DIR/share/jupyter."
        ) from None


def _said(told: IO[str], code: int) -> dict[str, Any]:
    """The last line of stdout, which says how the notebook ended; without one its process was killed."""
    told.seek(0)
    lines = told.read().splitlines()
    try:
        found: dict[str, Any] = json.loads(lines[-1])
    except (IndexError, ValueError):
        found = {"exit": code or 1, "again": True, "until": "", "why": f"Its process ended with {code} and said nothing."}  # fmt: skip
    return found


def _label(parameters: dict[str, Any]) -> str:
    """A slice, as an operator knows it."""
    names = (parameters.get("table"), parameters.get("window"))
    return "/".join(name for name in names if name) or str(parameters.get("run_id", ""))
