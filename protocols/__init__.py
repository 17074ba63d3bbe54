"""The protocols of `evaluate.py`: from files to printed and saved results."""
