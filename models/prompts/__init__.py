"""Prompts of every act."""
