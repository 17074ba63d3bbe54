"""Command-line interface shared by the scripts: options, progress bars and one-line errors."""

import argparse
import contextlib
import ctypes
import dataclasses
import errno
import logging
import math
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TypeVar, cast

from tqdm import tqdm

from common.errors import InputError

T = TypeVar("T")
PLAIN_SECONDS = 10.0  # between two lines of progress where the output is not a terminal

# All packages, in layering order: each imports only itself and the packages before it. The scripts
# print what they log.
PACKAGES = (
    *("common", "data_prep", "models", "training", "evaluation", "recognition"),
    *("artist_groups", "papers", "report", "protocols"),
)

# Settings of glibc's malloc, each with its number in mallopt(3) and its value in bytes. Older
# versions reject the first one, and the others alone would slow them down.
_MALLOC = {
    "MALLOC_MMAP_THRESHOLD_": (-3, 2**30),
    "MALLOC_TRIM_THRESHOLD_": (-1, 2**29),
    "MALLOC_TOP_PAD_": (-2, 2**26),
}


def make_parser(description: str, example: str) -> argparse.ArgumentParser:
    """Return an argument parser whose --help output ends with an example."""
    return argparse.ArgumentParser(
        description=description,
        epilog=f"example:\n  {example}",
        formatter_class=HelpFormatter,
        allow_abbrev=False,
    )


def add_renamed(parser: argparse.ArgumentParser, name: str, *old: str, **options) -> None:
    """Add the option `name`; its old names still work but are hidden from --help."""
    action = parser.add_argument(name, **options)
    hidden = {**options, "dest": action.dest, "default": argparse.SUPPRESS}
    parser.add_argument(*old, **{**hidden, "help": argparse.SUPPRESS, "required": False})


def add_count(
    parser: argparse.ArgumentParser, name: str, default: int | None, text: str, *, old: str = ""
) -> None:
    """Add an option that takes a positive integer, and its old name if it has one."""
    options: dict = {"type": positive, "default": default, "metavar": "N", "help": text}
    if old:
        add_renamed(parser, name, old, **options)
    else:
        parser.add_argument(name, **options)


def add_seed(parser: argparse.ArgumentParser) -> None:
    """Add the --seed option."""
    parser.add_argument("--seed", type=_seed, default=0, help="random seed")


def add_seeds(parser: argparse.ArgumentParser, seeds: Sequence[int]) -> None:
    """Add the --seeds option of scripts that train with several seeds, with these defaults."""
    options: dict = {"type": _seed, "nargs": "+", "metavar": "N", "action": _Distinct}
    parser.add_argument("--seeds", default=seeds, help="random seeds for training", **options)


class _Distinct(argparse.Action):
    """Stores the distinct values of an option, in order."""

    def __call__(self, parser, namespace, values, option_string=None):
        setattr(namespace, self.dest, list(dict.fromkeys(values)))


def output_file(suffix: str) -> Callable[[str], Path]:
    """Return an argparse type for the path of an output file, which must end in `suffix`.

    The content does not depend on the name, so features in `x.csv` would not be CSV.
    """

    def parse_path(text: str) -> Path:
        path = Path(text)
        if path.suffix.lower() != suffix and not path.is_dir():  # folders are refused when opened
            raise argparse.ArgumentTypeError(
                f"{text}: written as {_FORMATS[suffix]}; give a name that ends in {suffix}"
            )
        return path

    return parse_path


_FORMATS = {".csv": "CSV", ".h5": "HDF5", ".html": "HTML", ".json": "JSON", ".onnx": "ONNX"}


def add_strict(parser: argparse.ArgumentParser) -> None:
    """Add the --strict option; --allow-failures, now the default, is accepted but hidden."""
    text = "exit status 1 if any track failed, even if all others are complete"
    parser.add_argument("--strict", action="store_true", help=text)
    parser.add_argument("--allow-failures", action="store_true", help=argparse.SUPPRESS)


def add_split_and_cache(
    parser: argparse.ArgumentParser, out: str, kind: Callable[[str], Path] = Path
) -> None:
    """Add the split and mel cache arguments, and an --out option with the help text `out`."""
    parser.add_argument("split", metavar="SPLIT.csv", type=Path, help="split file")
    parser.add_argument("cache", metavar="CACHE.h5", type=Path, help="mel cache for the split")
    parser.add_argument("--out", type=kind, required=True, help=out)


def add_front_end(
    parser: argparse.ArgumentParser,
    resamplers: Sequence[str],
    normalisations: Sequence[str],
    sid_models: Sequence[str],
) -> None:
    """Add the options of `data_prep.mel.FrontEnd`; None stands for its defaults."""
    text = "all frames of each track, instead of the first 1,291 (30 s) as in the papers"
    parser.add_argument("--whole-tracks", action="store_true", help=text)
    text = "resampling filter for audio at other sample rates than 22,050 Hz "
    text += f"(default: {resamplers[0]}, that of the authors)"
    parser.add_argument("--resampler", choices=resamplers, help=text)
    text = f"level to which each track is scaled (default: {normalisations[0]}, as the authors did)"
    parser.add_argument("--normalise", choices=normalisations, help=text)
    text = "sound chip for tunes of the Commodore 64, which sidplayfp renders "
    text += f"(default: {sid_models[0]}, the chip that each tune is written for)"
    parser.add_argument("--sid-model", choices=sid_models, help=text)


def training_parser(description: str, example: str, defaults) -> argparse.ArgumentParser:
    """Return a parser with the options shared by all scripts that train a single encoder.

    The default values are those of the configuration `defaults`; see `training.config`.
    """
    parser = make_parser(description, example)
    add_split_and_cache(parser, out="run folder, runs/NAME")
    add_count(parser, "--epochs", defaults.epochs, "maximum number of epochs")
    add_step_options(parser, defaults)
    text = "dropout rate applied after the last activation"
    parser.add_argument("--dropout", type=fraction, default=defaults.dropout, help=text)
    text = "number of epochs without an improvement in validation loss before "
    plateau = text + "the learning rate is multiplied by 0.2"
    add_count(parser, "--plateau", defaults.plateau, plateau)
    patience = text + "training stops (default: never stop early)"
    add_count(parser, "--patience", None, patience)
    text = "rule that lowers the learning rate: at each plateau, as in the papers, or along a "
    text += "cosine to 0 over all epochs, with the last weights as best.h5"
    values = ("plateau", "cosine")
    parser.add_argument("--schedule", choices=values, default=defaults.schedule, help=text)
    text = "number of artists to train on, taken in split order (default: all)"
    add_count(parser, "--max-artists", None, text, old="--artists")
    text = "encoder to fine-tune: an .h5 or .keras file, or the name of a released model; its "
    text += "--encoder and --equal-level are used, and other ones refused"
    parser.add_argument("--start-from", metavar="WEIGHTS", help=text)
    text = "network that maps segments to embeddings: the papers', or one that pools the mean and "
    text += "standard deviation over time"
    values = ("paper", "statistics")
    parser.add_argument("--encoder", choices=values, default=defaults.encoder, help=text)
    text = "scaling of all segments to the same level, so that embeddings ignore the volume"
    parser.add_argument(
        "--equal-level", action=argparse.BooleanOptionalAction, default=False, help=text
    )
    text = "random changes of the training segments: gain (lower levels), band-limit (as in lossy "
    text += "coding), transpose (by up to two semitones) and masks (over bands and frames); "
    text += "without a KIND, no changes"
    kinds = ("gain", "band-limit", "transpose", "masks")
    parser.add_argument(
        "--augment", nargs="*", choices=kinds, default=(), metavar="KIND", help=text
    )
    text = "numeric precision of the encoder; mixed computes in bfloat16 with float32 weights"
    values = ("float32", "mixed")
    parser.add_argument("--precision", choices=values, default=defaults.precision, help=text)
    text = "data-parallel training on all GPUs of this machine or, with JAX, of many machines"
    parser.add_argument("--distribute", action="store_true", help=text)
    add_seed(parser)
    return parser


def given_options(parser: argparse.ArgumentParser) -> dict:
    """Return the arguments that the command line gives, without the defaults of the others."""
    defaults = vars(parser.parse_args())
    # argparse sets no default where the namespace has a value.
    parsed = parser.parse_args(namespace=argparse.Namespace(**dict.fromkeys(defaults)))
    return {name: value for name, value in vars(parsed).items() if value is not None}


def add_step_options(parser: argparse.ArgumentParser, defaults) -> None:
    """Add the training-step options that all networks share."""
    text = "number of tracks per training step, not counting positives and negatives"
    add_count(parser, "--batch-size", defaults.batch_size, text, old="--batch")
    number = {"type": positive_float, "default": defaults.learning_rate}
    add_renamed(parser, "--learning-rate", "--rate", **number, help="initial learning rate")
    text = (
        "location of the frames during training: stream sends the crops to the device at each "
        "step, resident keeps all frames in device memory, a FRACTION such as 0.5 keeps this "
        "fraction of them and sends the other crops, and auto keeps as many as fit on a single "
        "GPU, all or none on several GPUs, and none on a CPU"
    )
    values = "{auto,stream,resident,FRACTION}"
    parser.add_argument("--data", type=_data_placement, default="auto", metavar=values, help=text)
    text = "number of training steps per call to the compiled training function (default: 16 on a "
    add_count(parser, "--steps-per-call", None, text + "CPU, 64 on a GPU, and 1 with PyTorch)")


def fill_dataclass(kind: type[T], args: argparse.Namespace) -> T:
    """Return an instance of the dataclass `kind`, filled from the arguments with matching names."""
    fields = dataclasses.fields(kind)  # type: ignore[arg-type]
    return kind(**{field.name: getattr(args, field.name) for field in fields})


def _number_type(parse: type, is_valid: Callable[[float], bool], error: str) -> Callable:
    """Return an argparse type that rejects numbers outside its range."""

    def number_type(text: str) -> float:
        number = parse(text)
        if not is_valid(number):
            raise argparse.ArgumentTypeError(f"{text} is {error}")
        return number

    # argparse prints this name if the text is not a number.
    number_type.__name__ = "integer" if parse is int else "number"
    return number_type


non_negative = _number_type(int, lambda n: n >= 0, "below zero")
positive = _number_type(int, lambda n: n >= 1, "below one")
two_or_more = _number_type(int, lambda n: n >= 2, "below two")
positive_float = _number_type(float, lambda x: 0 < x < math.inf, "not a finite number above zero")
non_negative_float = _number_type(
    float, lambda x: 0 <= x < math.inf, "not a finite number from zero up"
)
# A lower temperature of a softmax overflows, or undoes the masks of its logits.
temperature = _number_type(float, lambda x: 0.001 <= x < math.inf, "not a number from 0.001 up")
fraction = _number_type(float, lambda x: 0 <= x < 1, "not in [0, 1)")
probability = _number_type(float, lambda x: 0 <= x <= 1, "not in [0, 1]")
# NumPy's legacy generator only accepts 32-bit seeds.
_seed = _number_type(int, lambda n: 0 <= n < 2**32, "not an integer from 0 to 2^32 - 1")


def _data_placement(text: str) -> str | float:
    """Return the value of --data: a name, or a fraction of the frames."""
    if text in ("auto", "stream", "resident"):
        return text
    with contextlib.suppress(ValueError):
        if 0 <= float(text) <= 1:
            return float(text)
    problem = "is not auto, stream, resident or a fraction in [0, 1]"
    raise argparse.ArgumentTypeError(f"{text} {problem}")


def progress_bar(items: Iterable | None = None, *, shown: bool = True, **settings) -> tqdm:
    """Return a tqdm progress bar for work that takes over two seconds.

    If the output is not a terminal, a plain line is printed every `PLAIN_SECONDS` instead.
    """
    file = settings.get("file", sys.stderr)
    if not shown or file is None or file.isatty():
        hidden = not shown or file is None
        return tqdm(items, disable=hidden, delay=2, dynamic_ncols=True, **settings)
    seconds = PLAIN_SECONDS
    return _PlainProgress(
        items, delay=seconds, mininterval=seconds, miniters=1, leave=False, **settings
    )


class _PlainProgress(tqdm):
    """Progress in plain lines, such as `120 of 450 tracks, 12.0 tracks/s, 28 s left`."""

    def display(self, msg: str | None = None, pos: int | None = None) -> None:
        """Print a line, except the empty one that clears a bar, and those that come too early."""
        if msg != "" and self._time() - self.start_t >= self.delay:
            self.fp.write(self._describe() + "\n")
            self.fp.flush()

    def _describe(self) -> str:
        scale = 1.0 if self.unit_scale is True else float(self.unit_scale) or 1.0
        unit = self.unit.strip()
        units = unit if unit == "B" or unit.endswith("s") else f"{unit}s"
        elapsed = max(self.format_dict["elapsed"], 1e-9)
        rate = (self.n - self.initial) / elapsed
        count = self._format(self.n * scale)
        if self.total:
            count += f" of {self._format(self.total * scale)}"
        parts = [f"{count} {units}", f"{tqdm.format_sizeof(rate * scale)} {units}/s"]
        if self.total and rate:
            parts.append(f"{_format_seconds(max(self.total - self.n, 0) / rate)} left")
        prefix = self.desc.removesuffix(": ")  # tqdm adds a colon to some descriptions
        return (f"{prefix}: " if prefix else "") + ", ".join(filter(None, [*parts, self.postfix]))

    def _format(self, count: float) -> str:
        return tqdm.format_sizeof(count) if self.unit_scale else f"{count:,.0f}"


def _format_seconds(seconds: float) -> str:
    for unit, size in (("s", 1), ("min", 60)):
        if seconds < 100 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds / 3600:.1f} h"


def run_script(main: Callable[[], int | None]) -> None:
    """Run a script's `main` function and exit with the status it returns.

    On an `InputError`, a package that is not installed, an operating system error or Ctrl-C, print
    one line to stderr and exit with status 1. Any other exception is a bug and is shown with its
    traceback.
    """
    for stream in filter(None, (sys.stdout, sys.stderr)):
        # File names may contain characters that the terminal cannot display.
        stream.reconfigure(errors="backslashreplace")
    _show_package_logs()
    _keep_freed_memory()
    try:
        status = main() or 0
        print(end="", flush=True)
    except InputError as error:
        status = _print_error(str(error))
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if not package or package in PACKAGES:
            raise
        status = _print_error(f"the package {package} is not installed; run make install")
    except KeyboardInterrupt:
        status = _print_error("stopped; run the same command again to finish")
    except BrokenPipeError:
        status = 1  # the program reading the output has exited, as in `… | head`
        _discard_output()
    except OSError as error:
        status = _print_error(f"{error.filename or 'output'}: {_os_error(error)}")
        _discard_output()
    sys.exit(status)


def _keep_freed_memory() -> None:
    """Have glibc reuse freed memory instead of returning it to the system.

    Otherwise, a quarter of the CPU time of training goes into page faults. Child processes read the
    environment variables when they start; other C libraries ignore them.
    """
    for name, (number, value) in _MALLOC.items():
        if name not in os.environ:
            try:
                accepted = ctypes.CDLL(None).mallopt(number, value)
            except (AttributeError, TypeError):  # not glibc
                return
            if not accepted:
                return
            os.environ[name] = str(value)


def _show_package_logs() -> None:
    """Print this project's log messages to stdout; warnings from other libraries go to stderr."""
    root = logging.getLogger()
    if not root.handlers:
        # This is Python's default for warnings. Installing it keeps a library's call to
        # logging.basicConfig from adding a handler that prints this project's messages twice.
        root.addHandler(cast(logging.Handler, logging.lastResort))
    handler = _PrintHandler(sys.stdout) if sys.stdout else logging.NullHandler()
    handler.setFormatter(logging.Formatter("%(message)s"))
    for package in PACKAGES:
        logger = logging.getLogger(package)
        logger.handlers = [handler]
        logger.setLevel(logging.INFO)


class _PrintHandler(logging.StreamHandler):
    """Log handler that raises write errors, such as a full disk, as `print` does."""

    def handleError(self, record: logging.LogRecord) -> None:
        raise


def _discard_output() -> None:
    """Flush stdout or, if that fails, redirect it, so that the error is not reported again."""
    try:
        print(end="", flush=True)
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _print_error(message: str) -> int:
    print("error: " + " ".join(message.split()), file=sys.stderr)
    return 1


def _os_error(error: OSError) -> str:
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return "the disk is full; free some space and run the same command again"
    # h5py fills error.strerror with a whole paragraph.
    problem = os.strerror(error.errno) if error.errno else str(error)
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return f"{problem}; change its permissions, or choose another place"
    if error.errno == errno.ENOENT:
        return "no such file; check the path"
    return f"{problem}; check the path and the disk"


class HelpFormatter(argparse.ArgumentDefaultsHelpFormatter, argparse.RawDescriptionHelpFormatter):
    """Help formatter that keeps line breaks in the example and omits None and False defaults."""

    def _get_help_string(self, action: argparse.Action) -> str:
        if action.default is None or action.default is False:
            return action.help or ""
        if isinstance(action.default, list | tuple):
            return f"{action.help} (default: {' '.join(map(str, action.default)) or 'none'})"
        return super()._get_help_string(action) or ""
