"""The process that serves metrics, and what these are."""
