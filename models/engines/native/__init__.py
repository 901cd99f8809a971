"""The native engine: continuous batching over torch models."""
