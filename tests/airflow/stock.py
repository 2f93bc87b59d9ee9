"""The three notebooks under the PapermillOperator as it comes: what a DAG of somebody else would say."""

from __future__ import annotations

import os

from airflow.providers.papermill.operators.papermill import PapermillOperator
from airflow.sdk import dag

ROOT, OUTPUTS = os.environ["ORA2SF_HOME"], os.environ["STOCK_OUTPUTS"]


@dag(dag_id="stock", schedule=None)
def stock() -> None:
    """01 → 02 → 03 for one table."""
    before = None
    for name in ("01_extract", "02_upload", "03_reconcile"):
        operator = PapermillOperator(
            task_id=name,
            input_nb=f"{ROOT}/notebooks/{name}.ipynb",
            output_nb=f"{OUTPUTS}/stock/{name}.ipynb",
            parameters={"run_id": "stock", "table": "product_price", "outputs": OUTPUTS},
            kernel_name="ora2sf",
        )
        if before:
            before >> operator
        before = operator


stock()
