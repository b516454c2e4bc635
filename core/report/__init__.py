"""Pages for people: what became of a picture, and what a run has measured, each in one file of HTML."""
