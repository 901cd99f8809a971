"""Small vision-language models, trained here, in the real pipeline."""
