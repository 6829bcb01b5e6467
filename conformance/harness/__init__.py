"""Starts real brokers on loopback, runs checks with real clients against them, and compares the outcomes."""
