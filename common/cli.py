"""How every script talks: its parser, its progress bar, its one-line errors."""

import argparse
import dataclasses
import errno
import logging
import math
import os
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TypeVar

from tqdm import tqdm

from common.errors import InputError

T = TypeVar("T")

# Every package of this project: its modules log as `logging.getLogger(__name__)`.
PACKAGES = (
    "common",
    "data_prep",
    "models",
    "training",
    "evaluation",
    "recognition",
    "artist_groups",
    "papers",
    "report",
    "protocols",
)


def make_parser(description: str, example: str) -> argparse.ArgumentParser:
    """An argument parser whose --help closes with one example to copy."""
    made = argparse.ArgumentParser(
        description=description,
        epilog=f"example:\n  {example}",
        formatter_class=_Help,
        allow_abbrev=False,
    )
    return made


def add_renamed(made: argparse.ArgumentParser, name: str, *old: str, **options) -> None:
    """Add the option `name`, with its former names as aliases that --help does not show."""
    action = made.add_argument(name, **options)
    hidden = {**options, "dest": action.dest, "default": argparse.SUPPRESS}
    made.add_argument(*old, **{**hidden, "help": argparse.SUPPRESS, "required": False})


def add_seed(made: argparse.ArgumentParser) -> None:
    """The option that every script with something random takes."""
    made.add_argument("--seed", type=_seed, default=0, help="of everything random")


def add_split_and_cache(made: argparse.ArgumentParser, out: str) -> None:
    """What every script takes that makes something, `out`, of a split and its mel cache."""
    made.add_argument("split", metavar="SPLIT.csv", type=Path)
    made.add_argument("cache", metavar="CACHE.h5", type=Path)
    made.add_argument("--out", type=Path, required=True, help=out)


def training_parser(description: str, example: str, defaults) -> argparse.ArgumentParser:
    """Return a parser with the options that all scripts for one encoder share.

    Parameters
    ----------
    defaults
        Configuration with the default values, see `training.config`.
    """
    parser = make_parser(description, example)
    add_split_and_cache(parser, out="folder of the run, runs/NAME")
    parser.add_argument(
        "--epochs", type=positive, default=defaults.epochs, help="maximum number of epochs"
    )
    add_step_options(
        parser, learning_rate=defaults.learning_rate, batch_size=defaults.batch_size
    )
    parser.add_argument(
        "--dropout",
        type=fraction,
        default=defaults.dropout,
        help="dropout rate after the last activation",
    )
    parser.add_argument(
        "--plateau",
        type=positive,
        default=defaults.plateau,
        help="number of epochs without a lower validation loss after which the learning rate is "
        "multiplied by 0.2",
    )
    parser.add_argument(
        "--patience",
        type=positive,
        help="number of epochs without a lower validation loss after which training stops "
        "(default: never)",
    )
    add_renamed(
        parser,
        "--max-artists",
        "--artists",
        type=positive,
        metavar="N",
        help="number of artists to train on, the first N of the split (default: all)",
    )
    parser.add_argument(
        "--start-from",
        metavar="WEIGHTS",
        help="encoder to fine-tune: an .h5 or .keras file, or the name of a released model",
    )
    parser.add_argument(
        "--precision",
        choices=("float32", "mixed"),
        default=defaults.precision,
        help="precision of the encoder; mixed computes in bfloat16 with weights in float32",
    )
    parser.add_argument(
        "--distribute",
        action="store_true",
        help="data-parallel training on all GPUs of this machine or, with JAX, of several machines",
    )
    add_seed(parser)
    return parser


def add_step_options(
    parser: argparse.ArgumentParser, *, learning_rate: float, batch_size: int
) -> None:
    """Add the options of a single training step, which all networks share."""
    add_renamed(
        parser,
        "--batch-size",
        "--batch",
        type=positive,
        default=batch_size,
        help="number of anchor tracks per training step",
    )
    add_renamed(
        parser,
        "--learning-rate",
        "--rate",
        type=positive_float,
        default=learning_rate,
        help="initial learning rate",
    )
    parser.add_argument(
        "--data",
        choices=("auto", "stream", "resident"),
        default="auto",
        help="location of the frames: stream sends each step its crops, resident keeps all frames "
        "in the device's memory, auto means resident on a GPU with enough memory, else stream",
    )
    parser.add_argument(
        "--steps-per-call",
        type=positive,
        metavar="N",
        help="number of training steps per call of the compiled function "
        "(default: 16 on a CPU, 64 on a GPU)",
    )


def fill_dataclass(kind: type[T], args: argparse.Namespace) -> T:
    """Return an instance of the dataclass `kind` with the arguments of the same names."""
    return kind(**{field.name: getattr(args, field.name) for field in dataclasses.fields(kind)})


def settings(args: argparse.Namespace) -> dict:
    """The arguments that decide what comes out: what a record says of how it was made.

    These are no paths, and not by which means the work was done.
    """
    plain = (str, int, float, bool, type(None))
    means = ("audio", "workers", "data", "steps_per_call", "distribute", "start_from", "where")
    return {
        name: value
        for name, value in vars(args).items()
        if isinstance(value, plain) and name not in means
    }


def non_negative(text: str) -> int:
    """An argument that is a whole number of zero or more."""
    number = int(text)
    if number < 0:
        raise argparse.ArgumentTypeError(f"{text} is below zero")
    return number


def _seed(text: str) -> int:
    number = non_negative(text)
    if number >= 2**32:
        raise argparse.ArgumentTypeError(f"{text} is not below 2^32, which NumPy's seeds are")
    return number


def positive(text: str) -> int:
    """An argument that is a whole number of one or more."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is below one")
    return number


def positive_float(text: str) -> float:
    """An argument that is a finite number above zero."""
    number = float(text)
    if not 0 < number < math.inf:
        raise argparse.ArgumentTypeError(f"{text} is not above zero")
    return number


def fraction(text: str) -> float:
    """An argument from 0 up to, but not, 1."""
    number = float(text)
    if not 0 <= number < 1:
        raise argparse.ArgumentTypeError(f"{text} is not in [0, 1)")
    return number


def progress_bar(items: Iterable | None = None, *, shown: bool = True, **settings) -> tqdm:
    """A progress bar for work of over two seconds, silent where nobody watches or not `shown`."""
    return tqdm(items, disable=None if shown else True, delay=2, dynamic_ncols=True, **settings)


def run_script(main: Callable[[], int | None]) -> None:
    """Run a script's `main` and leave with the exit status that it returns.

    0 only when all of it worked, 1 after a one-line error on stderr; argparse
    itself leaves with 2 on wrong use. An unforeseen exception is a bug and
    keeps its traceback.
    """
    for stream in filter(None, (sys.stdout, sys.stderr)):
        # A name that the terminal's encoding lacks is no reason to fail.
        stream.reconfigure(errors="backslashreplace")
    _show_package_logs()
    try:
        status = main() or 0
        print(end="", flush=True)
    except InputError as error:
        status = _complain(str(error))
    except KeyboardInterrupt:
        status = _complain("stopped; run the same command again to finish")
    except BrokenPipeError:
        # The reader of our output has left (`… | head`): nothing to tell it.
        status = 1
        _drop_output()
    except OSError as error:
        status = _complain(f"{error.filename or 'output'}: {_os_remedy(error)}")
        _drop_output()
    sys.exit(status)


def _show_package_logs() -> None:
    """Print what this package's modules log at INFO, and nothing of other libraries, to stdout."""
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(logging.Formatter("%(message)s"))
    for package in PACKAGES:
        logger = logging.getLogger(package)
        logger.handlers = [handler]
        logger.setLevel(logging.INFO)


def _drop_output() -> None:
    """What could not be printed must not be tried, and complained about, again at exit."""
    try:
        print(end="", flush=True)
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _complain(message: str) -> int:
    print("error: " + " ".join(message.split()), file=sys.stderr)
    return 1


def _os_remedy(error: OSError) -> str:
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return "the disk is full; free some space and run the same command again"
    # Not its own strerror: h5py's is a paragraph.
    what = os.strerror(error.errno) if error.errno else str(error)
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return f"{what}; change its permissions, or choose another place"
    if error.errno == errno.ENOENT:
        return "no such file; check the path"
    return f"{what}; check the path and the disk"


class _Help(argparse.ArgumentDefaultsHelpFormatter, argparse.RawDescriptionHelpFormatter):
    """Leaves the description's and example's lines alone, and shows defaults that say something."""

    def _get_help_string(self, action: argparse.Action) -> str:
        if action.default in (None, False):
            return action.help or ""
        return super()._get_help_string(action)
