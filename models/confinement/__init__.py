"""Locks a process in before it runs what a model wrote: the system calls behind `models.sandbox`.

Everything here runs in a fresh, single-threaded interpreter (`child.py`) and needs the standard
library alone. Linux on x86-64 and ARM64; elsewhere nothing is confined, and nothing is run.
"""
