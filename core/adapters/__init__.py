"""Low-rank adapters of codecs: SVD-LoRA and LoRA, the layers they take, and their files."""
