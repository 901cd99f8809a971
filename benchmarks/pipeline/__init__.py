"""Benchmarks of the queue, the record and the coordinator."""
