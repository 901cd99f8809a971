"""The process of a client or a server."""
