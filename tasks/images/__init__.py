"""Image stores and their client."""
