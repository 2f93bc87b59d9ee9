"""Everything that talks to Salesforce; the only user of ``requests``."""

from ora2sf.salesforce.auth import Token, get_salesforce_token, way_to
from ora2sf.salesforce.bulk import JobEnd, Journal, SalesforceBulkLoader
from ora2sf.salesforce.collections import SalesforceCollectionsLoader
from ora2sf.salesforce.query import BulkQuery, Page, ReadBack, read_some
from ora2sf.salesforce.rest import API_VERSION, SalesforceClient
from ora2sf.salesforce.status import SalesforceStatusTracker

__all__ = [
    "API_VERSION",
    "BulkQuery",
    "JobEnd",
    "Journal",
    "Page",
    "ReadBack",
    "SalesforceBulkLoader",
    "SalesforceClient",
    "SalesforceCollectionsLoader",
    "SalesforceStatusTracker",
    "Token",
    "get_salesforce_token",
    "read_some",
    "way_to",
]
