"""The door to git: fetch one named ref, list and read its blobs, watch for news.

The only room that imports git. It reports what a repository says and decides nothing.
"""
