"""The papermill engine ``ora2sf``: the same execution, with nothing secret in what it leaves behind.

Beside papermill's own engine it encrypts the line to the kernel, replaces secrets before an output reaches
disk or log, lets SIGTERM interrupt the kernel (so that ``finally`` runs there), joins the pieces of a
stream, says the truth about an execution that did not come to its end, and keeps every execution with its
HTML under its time. (https://papermill.readthedocs.io/en/latest/extending-entry-points.html)
"""

from __future__ import annotations

import datetime as dt
import os
from copy import deepcopy
from pathlib import Path
from typing import Any

import nbformat
from nbconvert import HTMLExporter
from papermill.clientwrap import PapermillNotebookClient
from papermill.engines import NBClientEngine, NotebookExecutionManager
from papermill.log import logger
from traitlets.config import Config

from ora2sf.connections import known_secrets
from ora2sf.private import private_files
from ora2sf.progress import LAB_VARIABLE
from ora2sf.redaction import Redactor
from ora2sf.signals import sigterm_interrupts

#: A page opens from disk, years later and without a network: it loads nothing from anywhere.
_NO_ADDRESSES = dict.fromkeys(
    ("require_js_url", "jquery_url", "mathjax_url", "mermaid_js_url", "mermaid_layout_elk_js_url"), ""
)

#: The page of an execution: what came out, with the code folded away, that of a failed cell open.
_PAGE = """\
{% extends 'lab/index.html.j2' %}
{% block html_head_css %}<style>
body.jp-Notebook main { max-width: 76rem; margin: 0 auto; }
details.code { width: 100%; } details.code > summary { cursor: pointer; color: #5b6770; font: 12px sans-serif; }
details.code .highlight .c1 { color: #2b6166; } details.code .highlight .o { color: #4a4a4a; }
</style>{% endblock %}
{% block input %}
<details class="code"{% if cell.outputs | selectattr('output_type', 'equalto', 'error') | list %} open{% endif %}>
<summary>code</summary>{{ super() }}</details>
{% endblock %}"""

#: Jupyter chooses ports before the kernel binds them, so kernels that start side by side may meet on one.
_STARTS = 3
_NEVER_BEGAN = "Kernel died before replying to kernel_info"  # jupyter_client/client.py: _async_wait_for_ready


class _Client(PapermillNotebookClient):  # type: ignore[misc]  # papermill has no types
    """Cleans each message before anybody sees it."""

    redactor: Redactor

    def execute(self, **kwargs: Any) -> Any:
        """Starts the kernel again if another process took one of the ports that were chosen for it; no cell has run then.

        Nobody sits before it, also if a notebook of JupyterLab is where it was started.
        """
        kwargs.setdefault("env", {name: os.environ[name] for name in os.environ if name != LAB_VARIABLE})
        for _ in range(_STARTS - 1):
            try:
                return super().execute(**kwargs)
            except RuntimeError as error:
                if str(error) != _NEVER_BEGAN:
                    raise
                self.km = self.kc = None
        return super().execute(**kwargs)

    def process_message(self, msg: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        self.redactor.clean_output(msg["header"]["msg_type"], msg["content"])
        return super().process_message(msg, *args, **kwargs)


class Engine(NBClientEngine):  # type: ignore[misc]  # papermill has no types
    """``papermill --engine ora2sf``."""

    @classmethod
    def execute_notebook(cls, nb: nbformat.NotebookNode, *args: Any, **kwargs: Any) -> nbformat.NotebookNode:
        """Cleans the parameters, which papermill saves before it calls :meth:`execute_managed_notebook`."""
        Redactor(known_secrets()).clean_notebook(nb)
        with private_files():  # a notebook shows rows
            executed: nbformat.NotebookNode = super().execute_notebook(nb, *args, **kwargs)
        return executed

    @classmethod
    def execute_managed_notebook(
        cls,
        nb_man: NotebookExecutionManager,
        kernel_name: str,
        log_output: bool = False,
        stdout_file: Any = None,
        stderr_file: Any = None,
        start_timeout: int = 60,
        execution_timeout: int | None = None,
        **kwargs: Any,
    ) -> None:
        """Executes one notebook; papermill calls it."""
        kwargs.pop("input_path", None)
        redactor = Redactor(known_secrets())
        settings = kwargs.pop("config", None) or Config()
        settings.merge(Config({"KernelManager": {"transport_encryption": "required"}}))
        client = _Client(
            nb_man,
            kernel_name=kernel_name,
            config=settings,
            coalesce_streams=True,
            timeout=execution_timeout,
            startup_timeout=start_timeout,
            log=logger,
            log_output=log_output,
            stdout_file=stdout_file,
            stderr_file=stderr_file,
            **kwargs,
        )
        client.redactor = redactor
        ended = False
        try:
            with sigterm_interrupts():
                client.execute()
            ended = not nb_man.nb.metadata.papermill["exception"]
        finally:
            redactor.clean_notebook(nb_man.nb)
            nb_man.nb.metadata.papermill["ended"] = ended
            if not ended:
                _tell_the_truth(nb_man.nb)
            nb_man.save()
            _keep(nb_man.nb, nb_man.output_path)


def _tell_the_truth(nb: nbformat.NotebookNode) -> None:
    """Papermill calls every cell completed after a killed kernel, a time-out or an interrupt.

    The last cell that was begun is the one that did not come to its end.
    """
    nb.metadata.papermill["exception"] = True
    states = [cell.metadata.papermill for cell in nb.cells if "papermill" in cell.metadata]
    begun = [state for state in states if state.get("start_time")]
    if begun and not any(state["status"] == "failed" for state in states):
        begun[-1]["status"], begun[-1]["exception"] = "failed", True


def _keep(nb: nbformat.NotebookNode, output_path: str | None) -> None:
    """Keeps this execution as ``<name>.<UTC time>.ipynb`` with its HTML, and the HTML also under the plain name."""
    if not output_path or "://" in output_path or not output_path.endswith(".ipynb"):
        return
    plain = Path(output_path)
    moment = dt.datetime.now(dt.UTC).strftime("%Y%m%dT%H%M%S.%f")[:-3] + "Z"
    kept = plain.with_name(f"{plain.stem}.{moment}.ipynb")
    nbformat.write(nb, kept)
    exporter = HTMLExporter(
        embed_images=True,
        exclude_input_prompt=True,
        exclude_output_prompt=True,
        raw_template=_PAGE,
        **_NO_ADDRESSES,
    )
    body, _ = exporter.from_notebook_node(_without_scraps(nb))
    body = body.replace('<script src=""></script>', "").replace('<script src=""> </script>', "")
    for path in (kept.with_suffix(".html"), plain.with_suffix(".html")):
        path.write_text(body, encoding="utf-8")


def _without_scraps(nb: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """A copy without the outputs that only programs read, which no page can show."""
    copy = deepcopy(nb)
    for cell in copy.cells:
        if cell.cell_type == "code":
            cell.outputs = [
                o for o in cell.outputs if not any("scrapbook" in kind for kind in o.get("data", ()))
            ]
    return copy
