"""A plugin whose dependency is not installed: it must be reported by name and skipped."""

import a_package_that_nobody_has  # noqa: F401
