"""Number format models: what TO_CHAR writes and TO_NUMBER reads (SQL Language Reference, "Number Format Models").

The decimal character is a point and the group separator a comma (territory AMERICA).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Context, Decimal
from functools import lru_cache

from .errors import OracleError, unsupported
from .formats import ConversionError

_WIDE = Context(prec=120)
_SHAPE = re.compile(
    r"(?P<bare>FM)?(?P<plus>S)?(?P<dollar>\$)?(?P<whole>[09,G]*)(?P<point>[.D])?(?P<places>[09]*)(?P<sign>S|MI|PR)?"
)
_REFUSED = ("EEEE", "TM", "X", "V", "B", "L", "C", "U")


@dataclass(frozen=True)
class NumberModel:
    """A model taken apart; `whole` and `places` are the 9s and 0s (and commas) before and after the point."""

    bare: bool
    dollar: bool
    whole: str
    point: bool
    places: str
    sign: str

    @property
    def width(self) -> int:
        """Characters of what it writes, FM aside."""
        marks = {"": 1, "S+": 1, "S": 1, "MI": 1, "PR": 2}[self.sign]
        return marks + self.dollar + len(self.whole) + self.point + len(self.places)


@lru_cache(maxsize=500)
def number_model(text: str) -> NumberModel:
    """Take a model apart; ORA-01481 for what is none, ORA-03001 for elements that are not known here."""
    upper = text.upper()
    found = _SHAPE.fullmatch(upper)
    if found is None or not (found["whole"] + found["places"]).strip(",G"):
        for element in _REFUSED:
            if element in upper:
                raise unsupported(f"the number format element {element}")
        raise OracleError(1481, "invalid number format model")
    if (found["plus"] and found["sign"]) or found["whole"].startswith((",", "G")):
        raise OracleError(1481, "invalid number format model")
    if found["point"] and not found["places"]:
        raise unsupported("a number format that ends with the decimal character")
    whole = found["whole"].replace("G", ",")
    return NumberModel(
        bool(found["bare"]), bool(found["dollar"]), whole, bool(found["point"]), found["places"],
        "S+" if found["plus"] else found["sign"] or "",
    )  # fmt: skip


def written(value: Decimal, text: str) -> str:
    """Return what TO_CHAR gives: rounded to the model's places; # throughout where it does not fit."""
    model = number_model(text)
    rounded = value.quantize(Decimal(1).scaleb(-len(model.places)), ROUND_HALF_UP, _WIDE)
    if value < 0 and not rounded:
        raise unsupported("TO_CHAR of a negative number that the format rounds to zero")
    digits, _, places = f"{rounded.copy_abs():f}".partition(".")
    room = len(model.whole.replace(",", ""))
    digits = "" if digits == "0" else digits
    if len(digits) > room:
        return "#" * model.width
    whole = _whole(digits, model)
    if model.bare:
        kept = len(model.places.rstrip("9"))
        places = places[:kept] + places[kept:].rstrip("0")
        whole = whole.lstrip(" ")
        if not whole and not places:
            whole = "0"
    body = whole.lstrip(" ") + ("." + places if model.point else "")
    return _signed(body, model, negative=value < 0)


def _whole(digits: str, model: NumberModel) -> str:
    """Lay the digits out under the model's 9s, 0s and commas."""
    slots = model.whole
    bare_zero = not digits and not model.places  # the last 9 shows a zero
    padded = digits.rjust(len(slots.replace(",", "")))
    out, at, begun = [], 0, False
    for slot in slots:
        if slot == ",":
            out.append("," if begun else " ")
            continue
        digit, at = padded[at], at + 1
        begun = begun or digit != " " or slot == "0"
        out.append("0" if digit == " " and begun else digit)
    if bare_zero and out and out[-1] == " ":
        out[-1] = "0"
    return "".join(out)


def _signed(body: str, model: NumberModel, *, negative: bool) -> str:
    body = "$" + body if model.dollar else body
    minus = "-" if negative else " "
    if model.sign == "PR":
        body = f"<{body}>" if negative else f" {body} "
    elif model.sign == "MI":
        body += minus
    elif model.sign in ("S", "S+"):
        mark = "-" if negative else "+"
        body = mark + body if model.sign == "S+" else body + mark
    else:
        body = minus + body
    return body.strip(" ") if model.bare else body.rjust(model.width)


def read(text: str, model_text: str) -> Decimal:
    """Return what TO_NUMBER gives; ConversionError (ORA-01722) for a text that does not fit the model."""
    model = number_model(model_text)
    body = text.strip(" ")
    negative = False
    wrong = ConversionError(1722, "invalid number")
    if model.sign == "PR":
        raise unsupported("TO_NUMBER with the number format element PR")
    if model.sign in ("MI", "S"):
        negative = body.endswith("-")
        body = body.removesuffix("-") if negative else body.removesuffix("+") if model.sign == "S" else body
    else:
        negative = body.startswith("-")
        body = body[1:] if negative or (model.sign == "S+" and body.startswith("+")) else body
    if body.startswith("$"):
        if not model.dollar:
            raise wrong
        body = body[1:]
    found = re.fullmatch(r"([0-9,]*)(?:\.([0-9]*))?", body)
    if found is None or not (found[1] + (found[2] or "")).strip(","):
        raise wrong
    if ("." in body and not model.point) or len(found[2] or "") > len(model.places):
        raise wrong
    if len(found[1].replace(",", "")) > len(model.whole.replace(",", "")):
        raise wrong
    if "," in found[1] and not model.whole.endswith(re.sub("[0-9]", "9", found[1])):
        if "," not in model.whole:
            raise wrong
        if not re.sub("0", "9", model.whole).endswith(re.sub("[0-9]", "9", found[1])):
            raise unsupported("TO_NUMBER of a text whose group separators are not where the format has them")
    value = Decimal(body.replace(",", ""))
    return value.copy_negate() if negative else value
