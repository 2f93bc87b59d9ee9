"""Run by Airflow's Python: how long the DAG's file takes to parse, beyond what the operator's import costs anyway."""

import json
import sys
import time

from airflow.sdk import dag  # noqa: F401 - every DAG file pays for this

begun = time.process_time()
import airflow.providers.papermill.operators.papermill  # noqa: E402, F401

operator = time.process_time() - begun
before, begun = set(sys.modules), time.process_time()
import migrate_bulk_api_dag  # noqa: E402, F401

ours = time.process_time() - begun
heavy = sorted({"ora2sf", "polars", "duckdb", "pyarrow", "oracledb"} & (set(sys.modules) - before))
print(json.dumps({"operator": operator, "ours": ours, "heavy": heavy}))
