"""The commands of `colm`, by what they are for; `workers.cli` lists them."""
