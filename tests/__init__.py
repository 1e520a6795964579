"""The tests of domops, and the labs they run on."""
