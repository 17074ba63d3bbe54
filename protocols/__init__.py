"""Evaluation protocols of `evaluate.py`, from input files to printed and saved results."""
