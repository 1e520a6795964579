"""Remember intent before effect and outcome after it, in SQLite with one writer.

What is lost here may cost history and speed, never a guest. It decides nothing.
"""
