"""The report's chapters about studies, one file each."""
