"""The exception for invalid input."""


class InputError(Exception):
    """A file, value or option given by the user is invalid.

    The message is one line that names the file or option and the remedy.
    Scripts print it without a traceback and exit with status 1.
    """
