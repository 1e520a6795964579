"""Start the steps of a plan and watch them to their end, in parallel where independent.

It carries out what the planner chose; it decides nothing.
"""
