"""What lies on disk between two calls, and may have been damaged, copied or written by somebody else since.

names      what may be the name of a folder, and what one line of text is
limits     how much of a file is read
reading    files, JSON and arrays of numbers, each checked before anything of it is believed
folders    folders that exist whole or not at all, with a manifest of sha256, never changed afterwards
records    single files that are replaced whole, each with its own sha256 in its last line

Nothing that was not written here is ever replaced or removed: what is in the way is named, what is damaged is set aside.
"""
