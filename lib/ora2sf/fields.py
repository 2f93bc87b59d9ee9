"""The fields of a table file: how source columns become one field of Salesforce.

Each type says what it needs and checks itself; how a value is turned into text stands in :mod:`ora2sf.convert`.
"""

from __future__ import annotations

import datetime as dt
import re
from abc import abstractmethod
from decimal import Decimal
from typing import Annotated, ClassVar, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, field_validator, model_validator

#: A second of 60 would be read as the next minute.
_TIME = "([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]"

#: Oracle format masks accepted for dates kept as text: mask → (what the text must look like, strptime form).
DATE_MASKS: dict[str, tuple[str, str]] = {
    "DD/MM/YYYY": (r"^[0-9]{2}/[0-9]{2}/[0-9]{4}$", "%d/%m/%Y"),
    "DD/MM/YYYY HH24:MI:SS": (rf"^[0-9]{{2}}/[0-9]{{2}}/[0-9]{{4}} {_TIME}$", "%d/%m/%Y %H:%M:%S"),
    "YYYY-MM-DD": (r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$", "%Y-%m-%d"),
    "YYYY-MM-DD HH24:MI:SS": (rf"^[0-9]{{4}}-[0-9]{{2}}-[0-9]{{2}} {_TIME}$", "%Y-%m-%d %H:%M:%S"),
    "YYYYMMDD": (r"^[0-9]{8}$", "%Y%m%d"),
}

#: Bulk API 2.0 reads this text in a cell as "set the field to null".
SET_NULL = "#N/A"
#: The days that Salesforce can store (Data Loader guide: Data Types Supported by Data Loader).
EARLIEST, LATEST = dt.date(1700, 1, 1), dt.date(4000, 12, 31)

#: An address that Salesforce takes; it takes a few more, such as quoted local parts, that nobody has.
EMAIL = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*@[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)*\.[A-Za-z]{2,}"

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


def _api_name(value: str) -> str:
    if not _NAME.fullmatch(value):
        raise ValueError("must be an API name: letters, digits and _")
    return value


ApiName = Annotated[str, AfterValidator(_api_name)]


class Strict(BaseModel):
    """A part of a table file: unknown keys are errors, and it never changes."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=(), hide_input_in_errors=True)


class _Named(Strict):
    field: ApiName

    @property
    def header(self) -> str:
        """The header cell of the field in a staged file."""
        return self.field


class _Field(_Named):
    """What every field has.

    Attributes:
        field: API name of the Salesforce field, in its exact case.
        column: name of the column in the source's result.
        null: what an empty value becomes: ``leave`` (an empty cell, which leaves the field as it is on
            update) or ``#N/A`` (sets the field to null).
        required: an empty value is refused.
        on_misfit: what happens to a value that does not fit: its row is rejected, the extraction stops
            (``fail``), the text is cut to its length (``truncate``, for text that is too long), or the value
            becomes empty or the ``default``.
        default: the value used by ``on_misfit = "default"``, as Salesforce reads it; it must fit itself.
        assumed: the column stands in no published dictionary.
    """

    column: str = Field(min_length=1)
    null: Literal["leave", "#N/A"] = "leave"
    required: bool = False
    on_misfit: Literal["reject", "fail", "truncate", "null", "default"] = "reject"
    default: str | None = None
    assumed: bool = False

    @property
    def source(self) -> tuple[str, ...]:
        """The source columns that the field is made of."""
        return (self.column,)

    @field_validator("column")
    @classmethod
    def _upper(cls, value: str) -> str:
        return value.upper()

    @model_validator(mode="after")
    def _default_goes_with_policy(self) -> Self:
        if (self.on_misfit == "default") != (self.default is not None):
            raise ValueError('on_misfit = "default" and default = "…" go together')
        if self.on_misfit == "null" and self.required:
            raise ValueError('on_misfit = "null" contradicts required = true')
        if self.on_misfit == "truncate" and not isinstance(self, TextField):
            raise ValueError(
                'on_misfit = "truncate" is for type = "text"; allowed: reject, fail, null, default'
            )
        if self.default is not None and (wanted := self._refuses(self.default)):
            raise ValueError(f"default = {self.default!r} does not fit: {wanted}")
        return self

    def refuses(self, text: str) -> str | None:
        """What a text for Salesforce must be and this one is not."""
        return self._refuses(text)

    @abstractmethod
    def _refuses(self, text: str) -> str | None:
        """What a text for Salesforce must be and this one is not."""


class TextField(_Field):
    """Text; ``length`` counts characters, as Salesforce does. CHAR columns lose their blank padding."""

    type: Literal["text"] = "text"
    length: int = Field(gt=0, le=131_072)

    def _refuses(self, text: str) -> str | None:
        return _refuses_text(text, self.length)


class _ShortText(_Field):
    """Text in one line, without the blanks around it."""

    length: int = Field(gt=0, le=4_000)

    def _refuses(self, text: str) -> str | None:
        if _CONTROL.search(text) or text != text.strip():
            return "no line break, no tabulator, no blanks around it"
        return _refuses_text(text, self.length)


class CodeField(_ShortText):
    """A code such as ``0901001``: never read as a number, its leading zeros stay.

    Attributes:
        width: a value of fewer digits, and of digits only, gets its leading zeros back (for codes that the source
            keeps as NUMBER).
    """

    type: Literal["code"]
    length: int = Field(default=255, gt=0, le=255)
    width: int | None = Field(default=None, gt=0, le=255)

    @model_validator(mode="after")
    def _width_fits(self) -> Self:
        if self.width and self.width > self.length:
            raise ValueError(f"width = {self.width} is more than length = {self.length}")
        return self


class EmailField(_ShortText):
    """An e-mail address: a local part, ``@``, and a domain with at least one dot.

    Salesforce refuses the whole row for an address it does not take (object reference: Email Field Type).
    """

    type: Literal["email"]
    length: int = Field(default=80, gt=0, le=80)

    def _refuses(self, text: str) -> str | None:
        return super()._refuses(text) or (
            None if re.fullmatch(EMAIL, text) else "write it like name@example.com"
        )


class PhoneField(_ShortText):
    """A telephone number as it was written; Salesforce formats nothing that comes through an API."""

    type: Literal["phone"]
    length: int = Field(default=40, gt=0, le=40)


class UrlField(_ShortText):
    """A web address; Salesforce keeps 255 characters and does not check more."""

    type: Literal["url"]
    length: int = Field(default=255, gt=0, le=255)


class IntegerField(_Field):
    """A whole number of at most ``digits`` digits."""

    type: Literal["integer"]
    digits: int = Field(default=18, gt=0, le=18)

    def _refuses(self, text: str) -> str | None:
        fits = re.fullmatch(rf"-?[0-9]{{1,{self.digits}}}", text)
        return None if fits else f"write a whole number of at most {self.digits} digits"


class DecimalField(_Field):
    """A number with ``scale`` decimals and at most ``precision`` digits in all.

    Attributes:
        rounding: how more decimals than ``scale`` are rounded: ``half_up`` (away from zero) or
            ``half_even``; ``none`` refuses the value instead.
        source_scale: most decimals that a NUMBER column without a declared scale may carry; a value with
            more stops the extraction with an error, it is never cut.
    """

    type: Literal["decimal"]
    precision: int = Field(default=18, gt=0, le=38)
    scale: int = Field(default=2, ge=0, le=18)
    rounding: Literal["half_up", "half_even", "none"] = "half_up"
    source_scale: int = Field(default=10, ge=0, le=30)

    @model_validator(mode="after")
    def _scale_within_precision(self) -> Self:
        if self.scale > self.precision:
            raise ValueError(f"scale = {self.scale} is more than precision = {self.precision}")
        return self

    def _refuses(self, text: str) -> str | None:
        whole = self.precision - self.scale
        fraction = rf"([.][0-9]{{1,{self.scale}}})?" if self.scale else ""
        fits = re.fullmatch(rf"-?[0-9]{{1,{max(whole, 1)}}}{fraction}", text)
        return None if fits else f"write at most {whole} digits before and {self.scale} after the point"


class BooleanField(_Field):
    """``true`` or ``false`` from 1/0, Y/N, T/F, YES/NO, TRUE/FALSE, without regard to case."""

    type: Literal["boolean"]

    def _refuses(self, text: str) -> str | None:
        return None if text in {"true", "false"} else "write true or false"


class _Temporal(_Field):
    """A date or a date with time, from a DATE, a TIMESTAMP, or text in one of the ``formats``.

    Attributes:
        formats: Oracle masks, tried in this order, for columns that keep dates as text.
        earliest, latest: first and last day accepted, as the day stands in the source; by default what
            Salesforce can store.
    """

    formats: tuple[str, ...] = ()
    earliest: dt.date = Field(default=EARLIEST, ge=EARLIEST, le=LATEST)
    latest: dt.date = Field(default=LATEST, ge=EARLIEST, le=LATEST)

    @field_validator("formats")
    @classmethod
    def _known_masks(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if unknown := [mask for mask in value if mask not in DATE_MASKS]:
            raise ValueError(f"unknown format {unknown[0]!r}; allowed: {', '.join(DATE_MASKS)}")
        return value

    @model_validator(mode="after")
    def _bounds_in_order(self) -> Self:
        if self.earliest > self.latest:
            raise ValueError(f"earliest = {self.earliest} is after latest = {self.latest}")
        return self

    def refuses_day(self, text: str) -> str | None:
        """Whether the day of a text that fits is too early or too late; a day of grace for the source's time zone."""
        day = dt.date.fromisoformat(text[:10])
        grace = dt.timedelta(days=1)
        near = self.earliest <= day + grace and day - grace <= self.latest
        return None if near else f"write a day from {self.earliest} to {self.latest}"


class DateField(_Temporal):
    """A calendar date, taken as it stands in the source: no time zone moves it."""

    type: Literal["date"]

    def _refuses(self, text: str) -> str | None:
        return None if _is_time(text, "%Y-%m-%d", 10) else "write it like 2025-12-31"


class DateTimeField(_Temporal):
    """An instant: read in the table's ``source_time_zone``, written in UTC."""

    type: Literal["datetime"]

    def _refuses(self, text: str) -> str | None:
        fits = _is_time(text, "%Y-%m-%dT%H:%M:%S.%fZ", 24)
        return None if fits else "write it in UTC like 2025-12-31T23:59:59.000Z"


class PicklistField(_Field):
    """A value of a picklist; ``values`` maps source text to picklist value and refuses what it lacks."""

    type: Literal["picklist"]
    values: dict[str, str] | None = Field(default=None, min_length=1)
    length: int = Field(default=255, gt=0)

    @model_validator(mode="after")
    def _values_fit(self) -> Self:
        for name, value in (self.values or {}).items():
            if wanted := self._refuses(value):
                raise ValueError(f"values: {name!r} = {value!r} does not fit: {wanted}")
        return self

    def _refuses(self, text: str) -> str | None:
        return "no line break and no tabulator" if _CONTROL.search(text) else _refuses_text(text, self.length)


class _Joined(_Named):
    """The text of one or several columns, joined by ``separator``.

    Choose a separator that stands in none of the columns: ``A_B`` + ``C`` and ``A`` + ``B_C`` become one text.
    """

    columns: tuple[str, ...] = Field(min_length=1)
    separator: str = "_"
    length: int = Field(default=255, gt=0, le=255)
    assumed: bool = False

    @property
    def source(self) -> tuple[str, ...]:
        """The source columns that the field is made of."""
        return self.columns

    @field_validator("columns")
    @classmethod
    def _upper(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(name.upper() for name in value)

    @model_validator(mode="after")
    def _separator_parts(self) -> Self:
        if len(self.columns) > 1 and (not self.separator or _CONTROL.search(self.separator)):
            raise ValueError(f"separator must be visible text when a {self._noun} has several columns")
        return self

    @property
    def _noun(self) -> str:
        return "key"


class KeyField(_Joined):
    """The external id: never empty, never twice; a row without a sound key is always rejected."""

    type: Literal["key"]
    on_misfit: ClassVar[str] = "reject"
    default: ClassVar[None] = None


class LookupField(_Joined):
    """A reference to another record, by that record's external id.

    Salesforce resolves it from the header cell ``Relationship.ExternalIdField``
    (https://developer.salesforce.com/docs/atlas.en-us.api_asynch.meta/api_asynch/datafiles_csv_rel_field_header_row.htm).

    Attributes:
        field: the reference field, such as ``KPS_SalesM__c`` or ``AccountId``.
        object: the object that is referred to.
        external_id_field: the External ID field of that object.
        relationship: name of the relationship; by default ``__c`` becomes ``__r``, and a final ``Id`` is left out.
        polymorphic: the reference may point to several objects, so the header cell names one.
        on_misfit: what happens when the text does not fit, or only some of the columns are empty.
        null: what an empty reference becomes (all columns are empty).
    """

    type: Literal["lookup"]
    object: ApiName
    external_id_field: ApiName
    relationship: ApiName | None = None
    polymorphic: bool = False
    null: Literal["leave", "#N/A"] = "leave"
    required: bool = False
    on_misfit: Literal["reject", "fail", "null"] = "reject"
    default: ClassVar[None] = None

    @property
    def header(self) -> str:
        """The header cell, such as ``KPS_SalesM__r.External_ID__c``."""
        path = f"{self.relationship_name}.{self.external_id_field}"
        return f"{self.object}:{path}" if self.polymorphic else path

    @property
    def relationship_name(self) -> str:
        """The name of the relationship, given or told from the field."""
        if self.relationship:
            return self.relationship
        custom = self.field.endswith("__c")
        return f"{self.field[:-3]}__r" if custom else self.field.removesuffix("Id")

    @property
    def _noun(self) -> str:
        return "lookup"

    @model_validator(mode="after")
    def _has_a_relationship(self) -> Self:
        if not self.relationship and not re.search(r".(__c|Id)$", self.field):
            raise ValueError('give relationship = "…": it cannot be told from the name of the field')
        if self.on_misfit == "null" and self.required:
            raise ValueError('on_misfit = "null" contradicts required = true')
        return self


class ConstantField(_Named):
    """The same text in every row; ``#N/A`` empties the field."""

    on_misfit: ClassVar[str] = "reject"
    default: ClassVar[None] = None
    type: Literal["constant"]
    value: str
    assumed: bool = False

    @property
    def source(self) -> tuple[str, ...]:
        """No source column."""
        return ()

    @field_validator("value")
    @classmethod
    def _no_other_line_ends(cls, value: str) -> str:
        if "\r" in value or "\0" in value:
            raise ValueError("must not hold CR or NUL")
        return value


AnyField = Annotated[
    KeyField
    | LookupField
    | TextField
    | CodeField
    | EmailField
    | PhoneField
    | UrlField
    | IntegerField
    | DecimalField
    | BooleanField
    | DateField
    | DateTimeField
    | PicklistField
    | ConstantField,
    Field(discriminator="type"),
]

#: The value of ``type`` → the kind of field.
TYPES: dict[str, type[Strict]] = {
    "key": KeyField,
    "lookup": LookupField,
    "text": TextField,
    "code": CodeField,
    "email": EmailField,
    "phone": PhoneField,
    "url": UrlField,
    "integer": IntegerField,
    "decimal": DecimalField,
    "boolean": BooleanField,
    "date": DateField,
    "datetime": DateTimeField,
    "picklist": PicklistField,
    "constant": ConstantField,
}


def refuses(spec: AnyField, text: str | None) -> str | None:
    """What a cell for Salesforce must be and this one is not, as a person who edits it has to know; None if it fits."""
    if text in (None, "", SET_NULL):
        needed = isinstance(spec, KeyField) or (not isinstance(spec, ConstantField) and spec.required)
        return "it must not be empty" if needed else None
    assert text is not None
    if isinstance(spec, ConstantField):
        return None if text == spec.value else f"it is always {spec.value!r}"
    if isinstance(spec, KeyField | LookupField):
        fits = len(text) <= spec.length and not _CONTROL.search(text)
        return None if fits else f"write at most {spec.length} characters in one line"
    if wanted := spec.refuses(text):
        return wanted
    if isinstance(spec, PicklistField) and spec.values and text not in {*spec.values.values(), spec.default}:
        return f"write one of {', '.join(dict.fromkeys(spec.values.values()))}"
    return spec.refuses_day(text) if isinstance(spec, DateField | DateTimeField) else None


def digits(number: Decimal) -> str:
    """All digits of a number, without the zeros that its type adds."""
    text = format(number, "f")  # not normalize(): it rounds to 28 digits
    return text.rstrip("0").rstrip(".") if "." in text else text


def _refuses_text(text: str, length: int) -> str | None:
    fits = 0 < len(text) <= length and text != SET_NULL and "\r" not in text and "\0" not in text
    return None if fits else f"write 1 to {length} characters without CR and NUL, and not {SET_NULL}"


def _is_time(text: str, form: str, length: int) -> bool:
    try:
        day = dt.datetime.strptime(text, form).date()  # noqa: DTZ007 - only looked at
    except ValueError:
        return False
    return len(text) == length and EARLIEST <= day <= LATEST
