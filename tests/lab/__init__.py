"""Real hypervisors on one small machine, for the tests, the demo and a curious person."""
