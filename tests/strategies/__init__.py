"""Hypothesis strategies that draw the nouns of the model from tiny alphabets."""
