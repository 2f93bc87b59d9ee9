"""Secrets out of what a person reads: outputs, parameters, messages."""

from __future__ import annotations

import re
from ast import literal_eval
from io import StringIO
from token import NUMBER, STRING
from tokenize import TokenError, generate_tokens
from typing import TYPE_CHECKING, Any

from ora2sf.connections import known_secrets

if TYPE_CHECKING:
    import nbformat

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


def clean_error(error: BaseException) -> None:
    """Takes secrets out of the texts of an error and of those that led to it, in place."""
    clean, seen = redactor(), set[int]()
    one: BaseException | None = error
    while one is not None and id(one) not in seen:
        seen.add(id(one))
        one.args = tuple(clean.clean(arg) if isinstance(arg, str) else arg for arg in one.args)
        for name, value in list(vars(one).items()):
            if isinstance(value, str):
                setattr(one, name, clean.clean(value))
        one = one.__cause__ or one.__context__


def redactor() -> Redactor:
    """Knows every secret in reach; of connections that cannot be read is told where they are used."""
    return Redactor(known_secrets(strict=False))
