"""Prompts of every act: pure functions that return chat turns."""
