"""The append-only record of queries: writes under the query's lock."""
