"""Bugs that are planted one after another, to see that the tests of the planner catch each."""
