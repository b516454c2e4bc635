"""CompressAI's image models behind this project's contract, and as anchors of speed."""
