"""Engines turn chats into completions. Only `workers` load one, once in a process."""
