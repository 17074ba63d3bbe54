"""The exception raised for invalid input."""


class InputError(Exception):
    """Raised if a file, value or option supplied by the user is invalid.

    The message names the file or option and the remedy; scripts print it without a traceback.
    """
