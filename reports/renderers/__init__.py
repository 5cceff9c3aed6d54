"""The report as files: HTML, PDF, JSON."""
