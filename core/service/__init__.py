"""The service: pictures and streams over HTTP, limits on all that comes in, and workers that may hang or die."""
