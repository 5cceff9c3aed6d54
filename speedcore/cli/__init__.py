"""The command line: commands, the options that all front doors share, messages and progress."""
