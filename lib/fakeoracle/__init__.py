"""An Oracle server on loopback that python-oracledb's Thin driver logs in to, with DuckDB behind it."""

from .faults import Fault, Faults
from .scripted import Scripted
from .server import Server, serve

__all__ = ["Fault", "Faults", "Scripted", "Server", "serve"]
