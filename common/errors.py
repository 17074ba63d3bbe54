"""The one kind of error that reaches a user."""


class InputError(Exception):
    """Something that was given is wrong: a file, a value, a setting.

    The message is one line that names the file (or the argument) and the
    remedy. Scripts print it without a traceback and exit with status 1.
    """
