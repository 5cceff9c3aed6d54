"""Maps of one or two runs, to be looked at: in a notebook, as a page, as a figure."""
