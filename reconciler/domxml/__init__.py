"""Render a guest's definition as libvirt's domain XML, and read it back.

One renderer and one reader a device, composed in a list. Pure, and free of policy: what a guest
should be has been decided before it comes here.
"""
