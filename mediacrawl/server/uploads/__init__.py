"""Uploads that resume: what all protocols share, and tus 1.0."""
