"""Shared by all benchmarks: command line, report tables, statistics, a site under test."""
