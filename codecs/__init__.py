"""The codecs that come with taskodec: `lite`, TIC, CompressAI's models, and classical anchors."""
