"""Files: written whole or not at all, planned before anything is done, downloaded and verified."""
