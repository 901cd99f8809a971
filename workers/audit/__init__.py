"""Keys, checkpoints, verification, retention and replay of the record."""
