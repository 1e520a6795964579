"""Write down what is on a host as manifests that adopt it.

A function of what the host said and of the repository as it is: it asks nothing and writes no file.
What it writes is read back and planned, as a commit of it would be, before anybody sees it: a guest
whose manifest would plan more than the mark is not handed out as one that fits. What no manifest
can say is left out, stays as it is, and is told in a comment.
"""

from reconciler.importing.choosing import Choice, choose, sketch_file
from reconciler.importing.draft import Sketch
from reconciler.importing.hosts import Place, find_place
from reconciler.importing.writeup import Imported, Layout, Request, write_up

__all__ = [
    "Choice",
    "Imported",
    "Layout",
    "Place",
    "Request",
    "Sketch",
    "choose",
    "find_place",
    "sketch_file",
    "write_up",
]
