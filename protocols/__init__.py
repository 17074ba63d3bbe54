"""The protocols and layouts that evaluate.py offers, each with its command-line arguments."""
