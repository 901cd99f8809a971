"""LoRA tuning of a causal language model on questions and answers."""
