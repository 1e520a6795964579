"""The kill matrix: a controller dies at every crossing, and the next one finishes (promise 7)."""
