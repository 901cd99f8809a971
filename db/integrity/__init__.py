"""Hashes, signatures and Merkle trees over the record."""
