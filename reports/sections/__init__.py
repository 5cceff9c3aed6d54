"""Sections of the report, each a function from checked results to frozen blocks with every string formatted."""
