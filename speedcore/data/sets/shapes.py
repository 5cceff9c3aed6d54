"""Shapes: made images, with exact object masks and a shortcut that can be planted (`speedcore.data.shapes`)."""

from speedcore.data.published import Manifest

SET = Manifest("shapes", place=4, title="Shapes", make="speedcore.data.shapes:files", spelling="speedcore.data.shapes:spelling",
               variants=("shapes:corner=CORRELATION", "shapes:hue=CORRELATION"))
