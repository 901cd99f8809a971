"""The tables, their triggers and their migrations."""
