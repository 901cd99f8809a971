"""The evaluator's process."""
