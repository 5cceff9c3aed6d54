"""Small experiments around training, one a file."""
