"""Run by Airflow's Python: one task's operator without a scheduler around it; SIGTERM does what it does in a task."""

from __future__ import annotations

import json
import signal
import sys
from pathlib import Path
from unittest import mock

from airflow.sdk import Connection
from notebook_operator import NotebookOperator

notebook, parameters, connections = (
    Path(sys.argv[1]),
    json.loads(sys.argv[2]),
    json.loads(sys.stdin.readline()),
)
operator = NotebookOperator(
    task_id="alone", input_nb=str(notebook), parameters=parameters, kernel_name="ora2sf"
)
signal.signal(signal.SIGTERM, lambda *_: operator.on_kill())
known = {name: Connection(conn_id=name, **fields) for name, fields in connections.items()}
with mock.patch("notebook_operator.BaseHook.get_connection", known.__getitem__):
    print(json.dumps(operator.execute({})))
