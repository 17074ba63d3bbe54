"""Tests that every real encoding is read whole, or refused with the true reason.

The clips are real music. Their frames are compared with those of the clean WAV file.
"""

import shutil
import sys

import mutagen.mp4
import mutagen.wavpack
import numpy as np
import pytest
import soundfile

from data_prep.audio import AudioError, load_audio
from data_prep.mel import log_mel
from data_prep.resampling import resample
from tests.data_prep.encodings import ENCODINGS, FFMPEG, Encoding

SLOW = pytest.mark.slow  # for variations that take the same path through the code

RATE = 44_100
TOLERANCE = 2  # frames; encoders add a delay


ID3V1 = b"TAG" + bytes(125)


def ape_tag(size):
    """Return an APE tag with a picture of a number of bytes."""
    item = size.to_bytes(4, "little") + b"\2\0\0\0Cover\0" + b"\xff\xfb" * (size // 2)
    lead = b"APETAGEX\xd0\7\0\0" + (len(item) + 32).to_bytes(4, "little") + b"\1\0\0\0"
    return lead + b"\0\0\0\xa0" + bytes(8) + item + lead + b"\0\0\0\x80" + bytes(8)


def id3_tag(size):
    """Return an ID3 tag with a damaged picture of a number of bytes."""
    head = bytes((size + 10) >> shift & 0x7F for shift in (21, 14, 7, 0))
    frame = b"APIC" + size.to_bytes(4, "big") + bytes(2)
    picture = b"\0image/jpeg\0\3\0\xff\xd8\xff\xe0" + b"\xff\xf1" * (size // 2)
    return b"ID3\3\0\0" + head + frame + picture[:size]


@pytest.fixture(scope="module")
def clean(music_data, tmp_path_factory):
    """Return a stereo WAV file of 17 s of real music at 44.1 kHz."""
    source = music_data / "data" / "gtzan_clips" / "rock.00000.au"
    return write_stereo(source, tmp_path_factory.mktemp("clean") / "clean.wav", 17.0)


def write_stereo(source, path, seconds=None, rate=RATE):
    """Write a clip as stereo with a second channel at a lower level."""
    samples, own_rate = soundfile.read(source, dtype="float32")
    samples = samples[: None if seconds is None else int(seconds * own_rate)]
    mono = resample(samples, own_rate, rate)
    soundfile.write(path, np.stack([mono, 0.7 * mono], axis=1), rate)
    return path


def compare(path, wav, seconds=None):
    """Return (difference in frames, cosine of the mean log-mels) of a file and its clean WAV."""
    mels = [log_mel(load_audio(p, seconds)) for p in (path, wav)]
    means = [mel.mean(axis=0) for mel in mels]
    cosine = means[0] @ means[1] / np.linalg.norm(means[0]) / np.linalg.norm(means[1])
    return len(mels[0]) - len(mels[1]), float(cosine)


def keep_fast(names, *fast):
    """Return parameters of which all but a few are slow."""
    return [name if name in fast else pytest.param(name, marks=SLOW) for name in names]


@pytest.mark.parametrize("seconds", [None, pytest.param(5.0, marks=SLOW)])
@pytest.mark.parametrize("name", ENCODINGS)
def test_encoding_is_read_whole(clean, tmp_path, name, seconds):
    encoding = ENCODINGS[name]
    frames, cosine = compare(
        encoding.encode(clean, tmp_path / f"a.{encoding.suffix}"), clean, seconds
    )
    assert abs(frames) <= TOLERANCE
    assert cosine >= (0.9999 if encoding.lossless else 0.98)


# ---------------------------------------------------------------- files of several parts


@pytest.fixture(scope="module")
def halves(clean, tmp_path_factory):
    """Return WAV files of the first 8 s and of the rest of the clean clip."""
    samples, rate = soundfile.read(clean, dtype="float32")
    folder = tmp_path_factory.mktemp("halves")
    for name, part in (("first", samples[: 8 * rate]), ("second", samples[8 * rate :])):
        soundfile.write(folder / f"{name}.wav", part, rate)
    return folder / "first.wav", folder / "second.wav"


@pytest.mark.parametrize("name", ["vbr mp3", "cbr mp3", "vbr mp3 without header", "vorbis", "opus"])
def test_files_joined_from_two_are_read_whole(clean, halves, tmp_path, name):
    encoding = ENCODINGS[name]
    parts = [encoding.encode(half, tmp_path / half.stem).read_bytes() for half in halves]
    joined = tmp_path / f"joined.{encoding.suffix}"
    joined.write_bytes(b"".join(parts))
    frames, cosine = compare(joined, clean)
    assert 0 <= frames <= 4 and cosine > 0.98  # the second part has a delay of its own


def test_parts_with_other_sample_rates_are_left_to_ffmpeg(clean, halves, tmp_path, monkeypatch):
    mono = tmp_path / "mono.wav"
    samples, rate = soundfile.read(halves[1], dtype="float32")
    soundfile.write(mono, samples[:, 0], rate)
    encoding = ENCODINGS["cbr mp3"]
    joined = tmp_path / "joined.mp3"
    joined.write_bytes(
        encoding.encode(halves[0], tmp_path / "1").read_bytes()
        + encoding.encode(mono, tmp_path / "2").read_bytes()
    )
    frames, _ = compare(joined, clean)
    assert 0 <= frames <= 4
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(AudioError, match=r"parts with different sample rates, .*; install ffmpeg"):
        load_audio(joined)


MP2 = Encoding("mp2", (*FFMPEG, "-c:a", "mp2", "-f", "mp2", "{out}"))
FREE = ("lame", "-S", "--freeformat", "-b", "160", "{wav}", "{out}")
FREE_320 = ("lame", "-S", "-t", "--freeformat", "-b", "320", "{wav}", "{out}")
JOINED_KINDS = {
    **{name: ENCODINGS[name] for name in ("flac", "flac without length", "m4a", "webm", "wma")},
    **{name: ENCODINGS[name] for name in ("alac in caf", "wavpack")},
    **{name: Encoding(name, (*FFMPEG, "{out}")) for name in ("wav", "aiff", "au", "tta")},
    "rf64": Encoding("wav", (*FFMPEG, "-rf64", "always", "{out}")),
}


def join(tmp_path, wavs, encodings, between=b""):
    """Encode each WAV file in its own way, and join what comes out."""
    parts = [
        encoding.encode(wav, tmp_path / f"{number}.{encoding.suffix}").read_bytes()
        for number, (wav, encoding) in enumerate(zip(wavs, encodings, strict=True))
    ]
    joined = tmp_path / f"joined.{encodings[0].suffix}"
    joined.write_bytes(between.join(parts))
    return joined


@pytest.mark.parametrize("between", [b"", ID3V1, id3_tag(1000)], ids=["nothing", "id3v1", "id3"])
@pytest.mark.parametrize("name", keep_fast(JOINED_KINDS, "wav", "flac"))
def test_joined_files_that_decoders_read_in_part_are_refused(halves, tmp_path, name, between):
    joined = join(tmp_path, halves, [JOINED_KINDS[name]] * 2, between)
    with pytest.raises(AudioError, match="contains another file behind the first"):
        load_audio(joined)


FAST = {"cbr mp3", "vorbis", "wav", "adts"}
PAIRS = [
    pytest.param(first, second, marks=[] if {first, second} <= FAST else SLOW)
    for first in ("cbr mp3", "vbr mp3 without header", "vorbis", "wav")
    for second in ("flac", "m4a", "wav", "vorbis", "cbr mp3", "adts")
    if first != second and not ("mp3" in first and "mp3" in second)  # decoders read these whole
]


@pytest.mark.parametrize(("first", "second"), PAIRS)
def test_joined_files_of_two_formats_are_refused(halves, tmp_path, first, second):
    kinds = {**ENCODINGS, **JOINED_KINDS, "adts": Encoding("aac", (*FFMPEG, "{out}"))}
    with pytest.raises(AudioError, match="contains another file behind the first"):
        load_audio(join(tmp_path, halves, [kinds[first], kinds[second]]))


@pytest.mark.parametrize(
    "second", keep_fast(["vorbis", "m4a", "cbr mp3", "vbr mp3 without header"], "cbr mp3", "m4a")
)
def test_flac_before_another_format_is_refused(halves, tmp_path, second):
    kinds = {**ENCODINGS, **JOINED_KINDS}
    with pytest.raises(AudioError, match="contains another file behind the first"):
        load_audio(join(tmp_path, halves, [kinds["flac"], kinds[second]]))


@pytest.mark.parametrize(
    "command", [FREE, pytest.param(FREE_320, marks=SLOW)], ids=["with header", "without"]
)
def test_free_format_is_read_whole_but_not_next_to_others(clean, halves, tmp_path, command):
    free = Encoding("mp3", command)
    frames, cosine = compare(free.encode(clean, tmp_path / "a.mp3"), clean)
    assert abs(frames) <= 4 and cosine > 0.98
    for other in (ENCODINGS["cbr mp3"], ENCODINGS["vbr mp3 without header"], Encoding("mp3", FREE)):
        for pair in ((free, other), (other, free)):
            with pytest.raises(AudioError, match="different parts, one of them in MPEG's free"):
                load_audio(join(tmp_path, halves, pair))


@pytest.mark.parametrize("kinds", [(MP2, ENCODINGS["cbr mp3"]), (ENCODINGS["cbr mp3"], MP2)])
def test_parts_of_different_mpeg_layers_are_read_whole(clean, halves, tmp_path, kinds):
    frames, cosine = compare(join(tmp_path, halves, kinds), clean)
    assert 0 <= frames <= 4 and cosine > 0.98


@pytest.mark.parametrize("size", keep_fast([0, 20_000, 300_000], 300_000))
@pytest.mark.parametrize("before", ["tag", "zeros"])
def test_mp3_behind_a_picture_or_zeros_is_read_whole(clean, tmp_path, before, size):
    path = ENCODINGS["vbr mp3 without header"].encode(clean, tmp_path / "a.mp3")
    content = bytes(size)
    if before == "tag":
        head = [(size + 10) >> shift & 0x7F for shift in (21, 14, 7, 0)]
        frame = b"APIC" + size.to_bytes(4, "big") + bytes(2)
        content = b"ID3\3\0\0" + bytes(head) + frame + b"\xff\xfb" * (size // 2)
    path.write_bytes(content + path.read_bytes())
    frames, cosine = compare(path, clean)
    assert abs(frames) <= TOLERANCE and cosine > 0.98


@pytest.mark.parametrize("seconds", [None, 30.0])
def test_mp3_with_a_gap_is_refused(clean, tmp_path, seconds):
    path = ENCODINGS["cbr mp3"].encode(clean, tmp_path / "a.mp3")
    content = bytearray(ENCODINGS["vbr mp3 without header"].encode(clean, path).read_bytes())
    middle = len(content) // 2
    content[middle : middle + 30_000] = b"x" * 30_000
    path.write_bytes(content)
    with pytest.raises(AudioError, match="of its bytes between frames are not MPEG audio"):
        load_audio(path, seconds)


LYRICS3V1 = b"LYRICSBEGIN" + b"[00:01]a line\r\n" * 20 + b"LYRICSEND" + ID3V1


def test_mp3_whose_header_does_not_count_the_last_frame_is_one_file(clean, tmp_path):
    path = ENCODINGS["vbr mp3"].encode(clean, tmp_path / "a.mp3")
    content = bytearray(path.read_bytes())
    size = content.index(b"Xing") + 12
    last_frame = len(content) - content.rindex(b"\xff\xfb")
    declared = int.from_bytes(content[size : size + 4], "big") - last_frame
    content[size : size + 4] = declared.to_bytes(4, "big")
    path.write_bytes(content + LYRICS3V1)
    assert abs(compare(path, clean)[0]) <= TOLERANCE


def test_length_in_a_vbri_header_is_compared_with_all_frames(clean, tmp_path):
    """libsndfile guesses the length of such files, which encoders of Fraunhofer write."""
    path = ENCODINGS["vbr mp3"].encode(clean, tmp_path / "a.mp3")
    content = bytearray(path.read_bytes())
    start = content.index(b"Xing")
    frames, size = content[start + 8 : start + 12], content[start + 12 : start + 16]
    vbri = b"VBRI\0\1\0\1\0\x4b" + size + frames
    content[start : content.index(b"\xff\xfb", start)] = vbri.ljust(417 - 36, b"\0")
    path.write_bytes(content)
    frames, cosine = compare(path, clean)
    assert abs(frames) <= TOLERANCE and cosine > 0.98
    path.write_bytes(content[: content.index(content[417:421], 2 * len(content) // 3)])
    with pytest.raises(AudioError, match="truncated"):
        load_audio(path)


@pytest.mark.parametrize("name", ["wma", "webm", "alac in caf"])
def test_last_block_of_a_short_file_may_be_missing(clean, tmp_path, name):
    samples, rate = soundfile.read(clean)
    soundfile.write(tmp_path / "short.wav", samples[: int(0.7 * rate)], rate)
    encoding = ENCODINGS[name]
    path = encoding.encode(tmp_path / "short.wav", tmp_path / f"a.{encoding.suffix}")
    assert len(load_audio(path)) == pytest.approx(0.7 * 22_050, abs=0.1 * 22_050)


def test_tags_that_resemble_a_second_file_are_no_second_file(clean, tmp_path):
    path = _encode(clean, tmp_path / "a.m4a")
    tags = mutagen.mp4.MP4(path)
    tags["covr"] = [mutagen.mp4.MP4Cover(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(1000))]
    tags.save()
    assert abs(compare(path, clean)[0]) <= TOLERANCE
    path = _encode(clean, tmp_path / "a.wv")
    tags = mutagen.wavpack.WavPack(path)
    tags["Comment"] = "blocks of WavPack start with wvpk"
    tags.save()
    assert abs(compare(path, clean)[0]) <= TOLERANCE


# ---------------------------------------------------------------- truncated files


@pytest.mark.parametrize(
    "name",
    keep_fast(
        [name for name in ENCODINGS if "pipe" not in name],
        *("vbr mp3", "vbr mp3 without header", "flac", "vorbis", "m4a"),
    ),
)
def test_half_a_file_is_refused(clean, tmp_path, name):
    encoding = ENCODINGS[name]
    options = ["-movflags", "+faststart"] if name == "m4a" else []
    command = (*encoding.command[:-1], *options, encoding.command[-1])
    encoding = type(encoding)(encoding.suffix, command, encoding.to_pipe, encoding.lossless)
    path = encoding.encode(clean, tmp_path / f"a.{encoding.suffix}")
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(AudioError, match="truncated"):
        load_audio(path)
    if name != "alac in caf":  # its table of packets stands at the end
        assert compare(path, clean, 5.0)[1] > 0.98


@pytest.mark.parametrize("tags", [ID3V1, ape_tag(3000), ape_tag(3000) + ID3V1, b""])
@pytest.mark.parametrize("missing", keep_fast([20, 100, 400], 20))
def test_mp3_cut_in_front_of_its_tags_is_truncated(clean, tmp_path, tags, missing):
    path = Encoding("mp3", ("lame", "-S", "-t", "-b", "320", "{wav}", "{out}")).encode(
        clean, tmp_path / "a.mp3"
    )
    music = path.read_bytes()
    path.write_bytes(music + tags)
    assert abs(compare(path, clean)[0]) <= 4
    path.write_bytes(music[:-missing] + tags)
    with pytest.raises(AudioError, match="is truncated within a frame"):
        load_audio(path)


OGG_ENCODINGS = {
    **{name: ENCODINGS[name] for name in ("vorbis", "opus", "ogg flac")},
    "speex": Encoding("spx", ("speexenc", "--quiet", "{wav}", "{out}")),
    "vorbis of sox": Encoding("ogg", ("sox", "{wav}", "{out}")),
    "vorbis from a pipe": Encoding("ogg", ("oggenc", "-Q", "-", "-o", "-"), to_pipe=True),
    "opus from a pipe": Encoding("opus", ("opusenc", "--quiet", "-", "-"), to_pipe=True),
    **{
        f"{codec} of ffmpeg": Encoding("ogg", (*FFMPEG, "-c:a", codec, "-ar", "16000", "{out}"))
        for codec in ("libvorbis", "libopus", "flac", "libspeex")
    },
}


@pytest.mark.parametrize("name", keep_fast(OGG_ENCODINGS, "vorbis", "opus", "speex"))
def test_ogg_cut_between_two_pages_is_truncated(clean, tmp_path, name):
    path = OGG_ENCODINGS[name].encode(clean, tmp_path / "a.ogg")
    assert abs(compare(path, clean)[0]) <= TOLERANCE
    content = path.read_bytes()
    path.write_bytes(content[: content.rindex(b"OggS")])
    with pytest.raises(AudioError, match="the last page of a stream is incomplete or missing"):
        load_audio(path)
    assert compare(path, clean, 5.0)[1] > 0.9


@pytest.mark.parametrize("tag", [ID3V1, id3_tag(1000)], ids=["id3v1", "id3"])
def test_ogg_streams_with_a_tag_between_them_are_read_whole(clean, halves, tmp_path, tag):
    frames, cosine = compare(join(tmp_path, halves, [ENCODINGS["vorbis"]] * 2, tag), clean)
    assert 0 <= frames <= 4 and cosine > 0.98


UNFINISHED = """
import os, sys, soundfile
samples, rate = soundfile.read(sys.argv[1])
file = soundfile.SoundFile(sys.argv[2], "w", rate, 2)
file.write(samples)
os._exit(0)
"""


@pytest.mark.parametrize("suffix", ["aiff", "au", "caf", "rf64"])
def test_header_that_its_writer_did_not_finish_is_the_reason(clean, tmp_path, suffix):
    path = tmp_path / f"a.{suffix}"
    Encoding(suffix, (sys.executable, "-c", UNFINISHED, "{wav}", "{out}")).encode(clean, path)
    with pytest.raises(AudioError, match=r"declares no samples, but contains [23],\d+,\d+ bytes"):
        load_audio(path)


@pytest.mark.parametrize("riff_size", [0, None])
def test_wav_whose_sizes_are_zero_is_unfinished(clean, tmp_path, riff_size):
    content = bytearray(clean.read_bytes())
    start = content.index(b"data") + 4
    content[start : start + 4] = bytes(4)
    if riff_size is not None:
        content[4:8] = riff_size.to_bytes(4, "little")
    (tmp_path / "a.wav").write_bytes(content)
    with pytest.raises(AudioError, match="declares no samples, but contains"):
        load_audio(tmp_path / "a.wav")


@pytest.mark.parametrize("suffix", ["w64", "wav"])
def test_cut_w64_and_rf64_are_refused(clean, tmp_path, suffix):
    options = ["-rf64", "always"] if suffix == "wav" else []
    path = _encode(clean, tmp_path / f"a.{suffix}", *options)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(AudioError, match="truncated: contains 50%"):
        load_audio(path)


def test_flac_cut_without_correcting_its_header_declares_too_much(clean, tmp_path):
    path = _encode(
        _encode(clean, tmp_path / "a.flac"), tmp_path / "b.flac", "-t", "9", "-c", "copy"
    )
    with pytest.raises(
        AudioError, match=r"truncated \(it contains fewer samples than it declares\)"
    ):
        load_audio(path)


def test_mp4_without_its_end_is_truncated(clean, tmp_path):
    path = _encode(clean, tmp_path / "a.m4a")
    path.write_bytes(path.read_bytes()[:-20_000])
    with pytest.raises(AudioError, match="damaged or truncated: it has no index"):
        load_audio(path)


def test_flac_that_no_decoder_reads_is_not_called_truncated(clean, tmp_path):
    """ffmpeg before 6.0 ends without a message and without samples."""
    wide = _encode(clean, tmp_path / "wide.wav", "-c:a", "pcm_s32le")
    command = ("flac", "-s", "-o", "{out}", "{wav}")
    path = Encoding("flac", command, lossless=True).encode(wide, tmp_path / "a.flac")
    try:
        assert abs(compare(path, clean)[0]) <= TOLERANCE
    except AudioError as error:
        assert "declares samples, but none can be decoded" in error.reason


def test_mp3_named_raw_is_told_to_have_the_wrong_suffix(clean, tmp_path):
    path = ENCODINGS["vbr mp3"].encode(clean, tmp_path / "a.raw")
    with pytest.raises(AudioError, match=r"is named \.raw, as if it has no header; give"):
        load_audio(path)


def test_aiff_written_to_a_stream_is_read_whole(clean, tmp_path):
    encoding = Encoding("aiff", ("sox", "{wav}", "-t", "aiff", "-"), to_pipe=True)
    assert compare(encoding.encode(clean, tmp_path / "a.aiff"), clean) == (0, pytest.approx(1))


# ---------------------------------------------------------------- formats that look like others


def _encode(wav, out, *options):
    return Encoding(out.suffix[1:], (*FFMPEG, *options, "{out}")).encode(wav, out)


@pytest.mark.parametrize("codec", ["adpcm_yamaha", "mp2", "flac", "wmav2"])
def test_any_codec_in_wav_is_read_whole(clean, tmp_path, codec):
    path = _encode(clean, tmp_path / "a.wav", "-c:a", codec)
    frames, cosine = compare(path, clean)
    assert abs(frames) <= 4 and cosine > 0.98


@pytest.mark.parametrize("name", ["a.au", "a.w64"])
def test_quiet_samples_of_24_bits_are_not_taken_for_mpeg(clean, tmp_path, name):
    samples, rate = soundfile.read(clean, dtype="float64")
    soundfile.write(tmp_path / name, samples / 1000, rate, "PCM_24")
    assert len(load_audio(tmp_path / name)) == len(load_audio(clean))


@pytest.mark.parametrize("suffix", ["sph", "sf"])
def test_quiet_samples_of_an_unknown_kind_are_not_searched_for_mpeg(clean, tmp_path, suffix):
    command = ("sox", "-v", "0.001", "{wav}", "-b", "24", "{out}")
    path = Encoding(suffix, command).encode(clean, tmp_path / f"a.{suffix}")
    with pytest.raises(AudioError, match="is not in an audio format that this package reads"):
        load_audio(path)


@pytest.mark.parametrize("codec", keep_fast(["mp2", "libmp3lame"], "libmp3lame"))
@pytest.mark.parametrize(
    "container",
    keep_fast(["avi", "flv", "mpegts", "mpeg", "ac3", "eac3", "dts", "rm"], "avi", "mpegts", "ac3"),
)
def test_formats_that_are_not_read_are_named_as_such(clean, tmp_path, container, codec):
    codecs = {"rm": "ac3", "dts": "dca", "flv": "libmp3lame"}
    codec = container if container.endswith("ac3") else codecs.get(container, codec)
    path = _encode(clean, tmp_path / "a.bin", "-c:a", codec, "-f", container, "-strict", "-2")
    with pytest.raises(AudioError, match="is not in an audio format that this package reads"):
        load_audio(path)


@pytest.mark.parametrize("tags", keep_fast([ID3V1, ape_tag(1000), ape_tag(10_000) + ID3V1], ID3V1))
@pytest.mark.parametrize("before", [b"", id3_tag(10_000), ape_tag(1000)])
def test_adts_between_tags_is_read_whole(clean, tmp_path, before, tags):
    path = _encode(clean, tmp_path / "a.aac")
    path.write_bytes(before + path.read_bytes() + tags)
    frames, cosine = compare(path, clean)
    assert abs(frames) <= 4 and cosine > 0.98
    path.write_bytes(path.read_bytes()[: -len(tags) - 50] + tags)
    with pytest.raises(AudioError, match="truncated"):
        load_audio(path)


@pytest.mark.parametrize("head", ["", "footer", "two tags"])
@pytest.mark.parametrize("name", keep_fast(["a.aac", "a.mp3"], "a.mp3"))
def test_adts_is_read_whole_behind_tags(clean, tmp_path, head, name):
    path = _encode(clean, tmp_path / name, "-c:a", "aac", "-f", "adts")
    tag = b"ID3\4\0\0\0\0\0\x14" + bytes(20)
    footer = b"ID3\4\0\x10\0\0\0\x14" + bytes(20) + b"3DI\4\0\x10\0\0\0\x14"
    before = {"": b"", "footer": footer, "two tags": tag + tag}[head]
    path.write_bytes(before + path.read_bytes())
    frames, cosine = compare(path, clean)
    assert abs(frames) <= 4 and cosine > 0.98


def test_ogg_streams_of_different_codecs_are_refused(clean, halves, tmp_path):
    first, second = (
        ENCODINGS[name].encode(half, tmp_path / name).read_bytes()
        for name, half in zip(("vorbis", "opus"), halves, strict=True)
    )
    (tmp_path / "a.ogg").write_bytes(first + second)
    with pytest.raises(AudioError, match="streams of different codecs, one after another"):
        load_audio(tmp_path / "a.ogg")


@pytest.mark.parametrize("name", ["vbr mp3", "vbr mp3 without header"])
@pytest.mark.parametrize("size", [1_000, 2_000_000])
def test_ape_tags_in_front_and_between_are_no_damage(clean, halves, tmp_path, name, size):
    parts = [
        ape_tag(size) + ENCODINGS[name].encode(half, tmp_path / "a").read_bytes() for half in halves
    ]
    (tmp_path / "a.mp3").write_bytes(ID3V1.join(parts))
    frames, cosine = compare(tmp_path / "a.mp3", clean)
    assert 0 <= frames <= 4 and cosine > 0.98


# ---------------------------------------------------------------- what ffmpeg is told


def test_rate_is_read_from_the_stream_and_not_from_tags_or_names(clean, tmp_path):
    path = tmp_path / "Stream 0: Audio: 96000 Hz, mono.m4a"
    command = ENCODINGS["m4a"].command
    tag = "comment=Stream #0:0: Audio: pcm, 96000 Hz, stereo, s16"
    encoding = type(ENCODINGS["m4a"])("m4a", (*command[:-1], "-metadata", tag, "{out}"))
    frames, cosine = compare(encoding.encode(clean, path), clean)
    assert abs(frames) <= TOLERANCE and cosine > 0.98


@pytest.mark.parametrize(("layout", "channels"), [("quad", 4), ("5.1", 6), ("7.1", 8)])
def test_channels_of_any_layout_are_averaged(clean, tmp_path, layout, channels):
    path = tmp_path / "a.mka"
    filters = f"pan={layout}|" + "|".join(f"c{n}=c{n % 2}" for n in range(channels))
    command = (*ENCODINGS["m4a"].command[:7], "-filter:a", filters, "-c:a", "flac", "{out}")
    type(ENCODINGS["m4a"])("mka", command).encode(clean, path)
    assert abs(compare(path, clean)[0]) <= TOLERANCE


def test_format_is_recognised_by_content_and_not_by_suffix(clean, tmp_path):
    encoded = ENCODINGS["m4a"].encode(clean, tmp_path / "a.m4a")
    named = encoded.rename(tmp_path / "a.mp3")
    assert abs(compare(named, clean)[0]) <= TOLERANCE


@pytest.mark.parametrize("name", ["m4a", "ogg flac", "flac without length", "alac in caf"])
def test_missing_ffmpeg_is_the_reason(clean, tmp_path, monkeypatch, name):
    encoding = ENCODINGS[name]
    path = encoding.encode(clean, tmp_path / f"a.{encoding.suffix}")
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(AudioError, match=r"install ffmpeg|needs ffmpeg"):
        load_audio(path)


def test_length_that_libsndfile_cannot_know_is_not_trusted(clean, tmp_path, monkeypatch):
    """A stand-in for libsndfile reports an absurd length, as it does for some Ogg files."""
    path = ENCODINGS["vorbis"].encode(clean, tmp_path / "a.ogg")
    monkeypatch.setattr(soundfile.SoundFile, "frames", property(lambda file: 2**62))
    assert abs(compare(path, clean)[0]) <= TOLERANCE


# ---------------------------------------------------------------- levels and silence


def test_integers_stored_as_floats_are_refused(clean, tmp_path):
    samples, rate = soundfile.read(clean, dtype="float32")
    soundfile.write(tmp_path / "a.wav", samples * 32768, rate, subtype="FLOAT")
    with pytest.raises(AudioError, match="full scale is 1: the samples look like integers"):
        load_audio(tmp_path / "a.wav")
    soundfile.write(tmp_path / "a.wav", samples * 4, rate, subtype="FLOAT")
    assert load_audio(tmp_path / "a.wav").max() > 1  # 12 dB above full scale


def test_silence_names_its_cause(clean, tmp_path):
    samples, rate = soundfile.read(clean, dtype="float32")
    mono = samples[:, 0]
    soundfile.write(tmp_path / "inverse.wav", np.stack([mono, -mono], 1), rate)
    with pytest.raises(AudioError, match="has channels that cancel each other"):
        load_audio(tmp_path / "inverse.wav")
    late = np.concatenate([np.zeros(6 * rate, np.float32), mono])
    soundfile.write(tmp_path / "late.wav", late, rate)
    with pytest.raises(AudioError, match="is silent for its first 5 s, the part that is used"):
        load_audio(tmp_path / "late.wav", 5.0)
    assert len(load_audio(tmp_path / "late.wav")) == pytest.approx(len(late) / 2, abs=2)
    soundfile.write(tmp_path / "silent.wav", 0 * mono[: 4 * rate], rate)
    with pytest.raises(AudioError, match="is silent; replace it"):
        load_audio(tmp_path / "silent.wav", 5.0)


# ---------------------------------------------------------------- a corpus of real clips


@pytest.mark.parametrize(
    "count", [1, pytest.param(60, marks=SLOW)], ids=["one clip", "sixty clips"]
)
def test_no_encoding_of_real_clips_loses_music(music_data, tmp_path, count):
    """Encode clips of all genres in every way, and compare them with the clean WAV file."""
    clips = sorted((music_data / "data" / "gtzan_short").glob("*.wav"))
    clips = clips[:: len(clips) // count][:count]
    for clip in clips:
        wav = write_stereo(clip, tmp_path / "clean.wav")
        seconds = soundfile.info(wav).duration
        for name, encoding in ENCODINGS.items():
            path = encoding.encode(wav, tmp_path / f"a.{encoding.suffix}")
            frames, cosine = compare(path, wav)
            assert abs(frames) <= max(TOLERANCE, 0.01 * seconds * 22_050 / 512), (clip, name)
            assert cosine >= (0.9999 if encoding.lossless else 0.98), (clip, name, cosine)
