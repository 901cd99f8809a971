"""What is said, and who says it: messages, prompts, strategies (pure) and engines.

Nothing here knows a broker or a database. Only `models.engines` may import torch.
"""
