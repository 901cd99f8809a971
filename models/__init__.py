"""What is said, and who says it: messages, prompts, strategies (pure) and engines.

Nothing here knows a broker or a database. Only `colm.models.engines` may import torch.
"""

if not __name__.startswith("colm."):
    raise ImportError("import colm.models: the folders of this repository are one package, colm")
