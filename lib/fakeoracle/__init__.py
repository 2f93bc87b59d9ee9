"""An Oracle server on loopback that python-oracledb's Thin driver logs in to, with DuckDB behind it."""

from .faults import Faults
from .server import Server, serve

__all__ = ["Faults", "Server", "serve"]
