"""Small vision-language models made on the spot, and the real pipeline over real images."""
