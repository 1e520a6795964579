"""Parse text into the desired world, or into every problem at once, each with its place.

The only room that knows pydantic's models of the manifests. It reads through a function that it
is given; it opens no files and knows nothing of libvirt.
"""
