"""The strategy COPE (arXiv 2506.11578)."""
