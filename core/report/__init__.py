"""Pages for people: what became of a picture, and what a run has measured, each one file of HTML that needs no network."""
