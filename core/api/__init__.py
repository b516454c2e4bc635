"""The front door: compress and decompress, what they return, and how names in settings become codecs and adapters."""
