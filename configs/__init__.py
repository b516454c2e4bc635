"""Presets in YAML: defaults, codecs, tasks, training and test-time fine-tuning."""
