"""Moves Oracle tables to Salesforce through Bulk API 2.0, from notebooks that leave an audit trail."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ora2sf.campaign_report import open_campaign
    from ora2sf.connections import get_connection
    from ora2sf.opening import open_run
    from ora2sf.planning import open_plan
    from ora2sf.run import Run
    from ora2sf.salesforce import SalesforceBulkLoader, SalesforceStatusTracker, get_salesforce_token
    from ora2sf.tables import TableConfig

__all__ = [
    "Run",
    "SalesforceBulkLoader",
    "SalesforceStatusTracker",
    "TableConfig",
    "get_connection",
    "get_salesforce_token",
    "open_campaign",
    "open_plan",
    "open_run",
]
_HOMES = {
    "Run": "ora2sf.run",
    "SalesforceBulkLoader": "ora2sf.salesforce",
    "SalesforceStatusTracker": "ora2sf.salesforce",
    "TableConfig": "ora2sf.tables",
    "get_connection": "ora2sf.connections",
    "get_salesforce_token": "ora2sf.salesforce",
    "open_campaign": "ora2sf.campaign_report",
    "open_plan": "ora2sf.planning",
    "open_run": "ora2sf.opening",
}


def __getattr__(name: str) -> Any:
    """Imports a name at its first use: the command must not wait for what only the notebooks need."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(importlib.import_module(_HOMES[name]), name)
    return value
