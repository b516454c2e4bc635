"""The service's log: a JSON object a line on standard error, uvicorn's lines among them."""

from __future__ import annotations

import logging
import logging.config

__all__ = ["log", "log_as_json"]

log = logging.getLogger("taskodec.service")


def log_as_json() -> None:
    """Set up logging for this process."""
    line = {
        "()": "pythonjsonlogger.json.JsonFormatter",
        "format": "{asctime}{levelname}{name}{message}",
        "style": "{",
        "rename_fields": {"asctime": "time", "levelname": "level", "name": "logger"},
        "defaults": {},
    }
    logging.config.dictConfig(
        {
            "version": 1,
            "disable_existing_loggers": False,
            "formatters": {"json": line},
            "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "json"}},
            "root": {"handlers": ["stderr"], "level": "WARNING"},
            "loggers": {"taskodec.service": {"level": "INFO"}, "uvicorn.access": {"level": "ERROR"}},
        }
    )
