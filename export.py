"""Export an encoder to an ONNX file, which maps log-mels or audio to embeddings without Keras.

WEIGHTS is a released model (siamese_5000), or an .h5 or .keras file. extract_features.py and other
programs can use the file with onnxruntime alone. Its metadata describes its input, its output, the
front end and the weights.
"""

from pathlib import Path

from common import cli, hdf5
from common.errors import InputError
from common.files import atomic_write


def main() -> int:
    """Read the weights, build the ONNX model, and write it to a file."""
    parser = cli.make_parser(__doc__, "python export.py siamese_5000 --out siamese_5000.onnx")
    parser.add_argument("weights", metavar="WEIGHTS", help="weights to export (see above)")
    text = "ONNX file to write, NAME.onnx"
    parser.add_argument("--out", type=cli.output_file(".onnx"), required=True, help=text)
    parser.add_argument("--mirror", type=Path, help="folder that contains the released weights")
    text = "input of waveforms at 22,050 Hz instead of log-mel segments, for other programs; "
    text += "the file then includes the papers' front end"
    parser.add_argument("--waveform", action="store_true", help=text)
    args = parser.parse_args()
    file_format = hdf5.read_format(args.weights)
    if file_format:  # of i-vector models, agf2018 networks and mel caches
        raise InputError(
            f"{args.weights}: contains no encoder, since its format is {file_format}; export the "
            "best.h5 of train_basic.py or train_siamese.py"
        )

    # Imported only now, so that --help stays fast.
    from models.onnx_export import build_onnx_model
    from models.pretrained import load_weights

    weights = load_weights(args.weights, args.mirror)
    model = build_onnx_model(weights, waveforms=args.waveform)
    content = model.SerializeToString(deterministic=True)
    if args.out.is_file():
        if args.out.read_bytes() != content:
            raise InputError(
                f"{args.out}: already there, from other weights, options or versions; choose "
                "another --out, or delete it to make it again"
            )
        print(f"{args.out}: already complete")
        return 0
    with atomic_write(args.out) as partial:
        partial.write_bytes(content)
    print(f"{args.out}: {weights.name}, {len(content) / 1e6:.1f} MB")
    return 0


if __name__ == "__main__":
    cli.run_script(main)
