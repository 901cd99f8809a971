"""The strategy CoLM (arXiv 2511.06991)."""
