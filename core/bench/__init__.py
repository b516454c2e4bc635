"""Codecs against codecs, by fidelity and by seconds, and whether machines agree."""
