"""The exception raised for invalid input."""


class InputError(Exception):
    """Raised if a file, value or option supplied by the user is invalid.

    The message is a single line that names the file or option and says how to fix the
    problem. Scripts print it without a traceback and exit with status 1.
    """
