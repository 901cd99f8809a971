"""Engines of other libraries: OpenVINO GenAI, transformers' paged manager."""
