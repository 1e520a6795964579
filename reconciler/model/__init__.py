"""The nouns: what is wanted, what is seen, and the steps between, as frozen values.

Nothing here does anything. The package imports the standard library only, so that every other room
can speak these words without pulling in anybody's machinery.
"""
