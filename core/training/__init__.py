"""Training of codecs and pre-training of adapters: resumable, on one device or several."""
