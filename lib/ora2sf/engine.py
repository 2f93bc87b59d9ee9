"""The papermill engine ``ora2sf``: the same execution, with nothing secret in what it leaves behind.

Beside papermill's own engine it encrypts the line to the kernel, replaces secrets before an output reaches
disk or log, lets SIGTERM interrupt the kernel (so that ``finally`` runs there), joins the pieces of a
stream, says the truth about an execution that did not come to its end, and keeps every execution with its
HTML under its time. (https://papermill.readthedocs.io/en/latest/extending-entry-points.html)
"""

from __future__ import annotations

import datetime as dt
import re
from ast import literal_eval
from copy import deepcopy
from io import StringIO
from pathlib import Path
from token import NUMBER, STRING
from tokenize import TokenError, generate_tokens
from typing import Any

import nbformat
from nbconvert import HTMLExporter
from papermill.clientwrap import PapermillNotebookClient
from papermill.engines import NBClientEngine, NotebookExecutionManager
from papermill.log import logger
from traitlets.config import Config

from ora2sf.connections import known_secrets
from ora2sf.signals import sigterm_interrupts

REPLACEMENT = "[secret]"
#: Tokens are made while a notebook runs, so they are known by their form: Salesforce's session ids
#: (org id, "!", rest), JSON web tokens, and whatever follows an Authorization header.
_TOKENS = re.compile(
    r"00D[A-Za-z0-9]{12,15}![A-Za-z0-9._]{8,}"
    r"|eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*"
    r"|(?<=Bearer )[A-Za-z0-9!._~+/=-]{8,}"
    r"|(?<=Basic )[A-Za-z0-9+/=]{8,}"
)
#: Fields that a person sees, by kind of output
_SEEN = {
    "stream": ("text",),
    "display_data": ("data",),
    "update_display_data": ("data",),
    "execute_result": ("data",),
    "error": ("ename", "evalue", "traceback"),
}


#: A page opens from disk, years later and without a network: it loads nothing from anywhere.
_NO_ADDRESSES = dict.fromkeys(
    ("require_js_url", "jquery_url", "mathjax_url", "mermaid_js_url", "mermaid_layout_elk_js_url"), ""
)


class Redactor:
    """Replaces secrets where a person would read them, and nowhere else.

    The rule, so that a password such as ``oracle`` or ``code`` breaks no notebook:

    * Outputs: the text of a stream, the values under ``data``, and name, value and traceback of an error;
      never the fields by which programs tell outputs apart.
    * Parameters: their values, at any depth, in the notebook's metadata and in the cell that papermill
      injects. Inside that cell only the contents of string literals change, and numbers that are a secret
      as a whole, so that it stays valid Python and every parameter keeps its name. The kernel gets the
      replacement, too: whoever needs a secret reads its connection.
    * The cells' sources are the author's and stay as they are.

    Args:
        secrets: texts to replace, longest first.
    """

    def __init__(self, secrets: set[str]) -> None:
        self._known = sorted(secrets, key=len, reverse=True)

    def clean(self, value: Any) -> Any:
        """The same value without secrets; lists and mappings are cleaned in place, their keys stay."""
        if isinstance(value, str):
            return self._text(value)
        if isinstance(value, dict):
            for key in list(value):
                value[key] = self.clean(value[key])
        elif isinstance(value, list):
            value[:] = [self.clean(item) for item in value]
        return value

    def clean_notebook(self, nb: nbformat.NotebookNode) -> None:
        """Cleans parameters, injected cell, outputs and the state of widgets, in place."""
        given = nb.metadata.get("papermill", {}).get("parameters", {})
        for name in list(given):
            given[name] = self._parameter(given[name])
        for cell in nb.cells:
            if "injected-parameters" in cell.metadata.get("tags", ()):
                cell.source = self._literals(cell.source)
            for output in cell.get("outputs", ()):
                self.clean_output(output["output_type"], output)
        for kind in nb.metadata.get("widgets", {}).values():
            for model in kind.get("state", {}).values():
                self.clean_widget(model.get("state", {}))

    def clean_output(self, kind: str, content: dict[str, Any]) -> None:
        """Cleans an output, or the content of a message of that kind, in place."""
        for field in _SEEN.get(kind, ()):
            if field in content:
                content[field] = self.clean(content[field])

    def clean_widget(self, state: dict[str, Any]) -> None:
        """Cleans the state of a widget, in place; fields with ``_`` first say which widget it is."""
        for name, value in state.items():
            if not name.startswith("_"):
                state[name] = self.clean(value)

    def _parameter(self, value: Any) -> Any:
        if isinstance(value, dict):
            return {self._parameter(key): self._parameter(inner) for key, inner in value.items()}
        if isinstance(value, list):
            return [self._parameter(inner) for inner in value]
        if isinstance(value, int | float) and not isinstance(value, bool):
            return REPLACEMENT if str(value) in self._known else value
        return self._text(value) if isinstance(value, str) else value

    def _literals(self, source: str) -> str:
        """Python source without secrets in its literals."""
        lines = StringIO(source).readlines()
        try:
            for token in reversed(list(generate_tokens(StringIO(source).readline))):
                (row, start), (_, end) = token.start, token.end
                if token.type in {STRING, NUMBER} and "\n" not in token.string:
                    value = literal_eval(token.string)
                    if (cleaned := self._parameter(value)) != value:
                        lines[row - 1] = f"{lines[row - 1][:start]}{cleaned!r}{lines[row - 1][end:]}"
        except (SyntaxError, TokenError, ValueError):
            return self._text(source)  # not what papermill writes
        return "".join(lines)

    def _text(self, text: str) -> str:
        for secret in self._known:
            text = text.replace(secret, REPLACEMENT)
        return _TOKENS.sub(REPLACEMENT, text)


class _Client(PapermillNotebookClient):  # type: ignore[misc]  # papermill has no types
    """Cleans each message before anybody sees it."""

    redactor: Redactor

    def process_message(self, msg: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        self.redactor.clean_output(msg["header"]["msg_type"], msg["content"])
        return super().process_message(msg, *args, **kwargs)


class Engine(NBClientEngine):  # type: ignore[misc]  # papermill has no types
    """``papermill --engine ora2sf``."""

    @classmethod
    def execute_notebook(cls, nb: nbformat.NotebookNode, *args: Any, **kwargs: Any) -> nbformat.NotebookNode:
        """Cleans the parameters, which papermill saves before it calls :meth:`execute_managed_notebook`."""
        Redactor(known_secrets()).clean_notebook(nb)
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
    body, _ = HTMLExporter(embed_images=True, **_NO_ADDRESSES).from_notebook_node(_without_scraps(nb))
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
