"""Moves Oracle tables to Salesforce through Bulk API 2.0, from notebooks that leave an audit trail."""

from ora2sf.connections import get_connection
from ora2sf.run import Run, open_run
from ora2sf.salesforce import SalesforceBulkLoader, SalesforceStatusTracker, get_salesforce_token
from ora2sf.tables import TableConfig

__all__ = [
    "Run",
    "SalesforceBulkLoader",
    "SalesforceStatusTracker",
    "TableConfig",
    "get_connection",
    "get_salesforce_token",
    "open_run",
]
