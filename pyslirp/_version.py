"""The one place that names the version; pyproject.toml, `--version` and the changelog's test read it here."""

__version__ = "0.1.0"
