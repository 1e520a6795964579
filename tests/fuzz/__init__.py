"""Fuzzers: bytes that nobody would write, at every door through which text comes in.

``targets`` says what must hold of any bytes, ``dig`` lets atheris look for bytes of which it does
not, and ``test_corpus`` tries what was ever found, and the house's examples, in each test run.
"""
