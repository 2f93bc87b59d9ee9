"""A Salesforce org on loopback: OAuth, Bulk API 2.0 ingest, rows, describe, part of SOQL, limits, faults."""

from .clock import Clock
from .errors import FakeforceError, SchemaError
from .faults import Fault, Faults
from .server import Org, serve

__all__ = ["Clock", "FakeforceError", "Fault", "Faults", "Org", "SchemaError", "serve"]
