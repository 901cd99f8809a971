"""Messages, prompts, answers, strategies (pure) and engines: no broker, no database.

Only `colm.models.engines` may import torch.
"""

if not __name__.startswith("colm."):
    raise ImportError("import colm.models: the folders of this repository are one package, colm")
