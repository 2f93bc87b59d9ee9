"""The demo: an Oracle listener and a Salesforce org on this machine, with data, for the real notebooks to work on."""
