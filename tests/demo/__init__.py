"""The main job on real guests, told on the terminal and asserted at every step."""
