"""Engines turn chats into completions. Each is loaded once per worker process, by `workers` only."""
