"""What a task makes of the files: rows, curves, Bjøntegaard deltas, and ablations of tuning."""
