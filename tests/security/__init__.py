"""Tests of hostile clients and of tampering with the record."""
