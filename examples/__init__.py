"""Programs that show the product at work; not installed with it."""
