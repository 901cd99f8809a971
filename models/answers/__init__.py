"""Reading and comparison of answers."""
