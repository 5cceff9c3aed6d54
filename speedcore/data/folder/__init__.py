"""`folder:PATH`: which files are used, of which split and class, and what is left out."""
