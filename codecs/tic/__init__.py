"""TIC, the transformer codec that test-time fine-tuning was published for."""
