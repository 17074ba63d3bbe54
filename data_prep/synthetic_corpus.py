"""A synthetic music corpus, rendered from a seed.

The corpus has a *source* part (artists to train on) and a *target* part (different artists, to
evaluate on), both with the same eight genres. Each genre has typical instruments, drum kits,
scales and grooves. Each artist has a persistent `Style`, a random variation on the genre's
instruments, drums, groove and mix. Each `Track` has its own key, chords, melody, arrangement
and recording conditions. Tracks differ so much in equalisation, level and noise that the
long-term spectrum reveals little about the genre; rhythm, envelopes and timbre reveal more.
"""

import contextlib
import functools
import itertools
import tomllib
import zlib
from collections import namedtuple
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import soundfile
from scipy.signal import butter, oaconvolve, sosfilt

from common import cli, provenance
from common.errors import InputError
from common.files import atomic_write
from common.parallel import ordered_map

RATE = 22_050  # Hz
SAMPLES = 30 * RATE
STEPS = 16  # number of steps per bar
PARTS = ("source", "target")
ROLES = ("drums", "bass", "chords", "lead")
CROSSOVER = 0.15  # probability that an instrument or kit is picked from all genres
EQ_HZ = np.geomspace(40, RATE / 2, 10)


# A pitched sound and a drum kit; `synthetic_corpus.toml` explains their numbers.
Instrument = namedtuple("Instrument", "slope even attack decay bright detune vibrato drive")
Kit = namedtuple(
    "Kit",
    "kick kick_decay sweep snare snare_decay snare_tone hat hat_decay perc perc_decay",
)


@dataclass(frozen=True)
class Groove:
    """The rhythm of a sub-genre: a one-bar, 16-step pattern per role, with '.' for a rest."""

    tempo: tuple[float, float]  # minimum and maximum, in beats per minute
    kick: str
    snare: str
    hat: str  # x: closed hi-hat, o: open hi-hat
    perc: str
    chords: str
    bass: str  # scale degrees above the chord root
    beat: int = 4  # steps per beat
    swing: float = 0.0  # delay of every other step, in steps
    ring: float = 2.0  # duration of a chord, in steps
    arpeggio: bool = False  # whether chord notes are played one by one


_TABLES = tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))
FIRST, SECOND = _TABLES["first_words"], _TABLES["second_words"]
SCALES, VOICINGS = _TABLES["scales"], _TABLES["voicings"]
INSTRUMENTS = {name: Instrument(*numbers) for name, numbers in _TABLES["instruments"].items()}
KITS = {name: Kit(*numbers) for name, numbers in _TABLES["kits"].items()}
GENRES = _TABLES["genres"]  # the options that each genre's artists choose from
GROOVES = {
    subgenre: Groove(**groove)
    for genre in GENRES.values()
    for subgenre, groove in genre["subgenres"].items()
}


@dataclass(frozen=True)
class Style:
    """The characteristics that an artist's tracks have in common."""

    genre: str
    subgenres: tuple[str, ...]
    groove: Groove
    tempo: float  # beats per minute
    sounds: dict[str, tuple[tuple[str, Instrument], ...]]  # possible instruments per role
    kit: tuple[str, Kit]
    scales: tuple[str, ...]
    voicing: list[int]
    roots: tuple[int, ...]  # scale degrees of the chords
    accents: np.ndarray  # (16,) float64, probability of a melody note at each step
    leap: float  # standard deviation of melody intervals, in scale degrees
    keynote: dict[str, int]  # MIDI number of the C on which each role's register is based
    mix: dict[str, float]  # level of each role in dB


@dataclass(frozen=True)
class RecordingConditions:
    """The conditions under which a track is recorded."""

    level: float  # peak level in dB
    eq: np.ndarray  # (10,) float64, gains in dB at the frequencies `EQ_HZ`
    lo_fi: bool  # whether the bandwidth is limited
    noise: float  # noise level relative to the music, in dB
    hiss: float  # 0 for white noise, 1 for low-pass noise
    drive: float  # amount of saturation
    room: float  # decay time of the reverberation to 1/e, in seconds
    wet: float  # level of the reverberation


@dataclass(frozen=True)
class Track:
    """One track without its notes, which are drawn when the track is rendered."""

    path: str
    album: str
    style: Style
    tempo: float  # beats per minute
    key: int  # semitones above C
    scale: str
    roots: tuple[int, ...]  # scale degrees of the chords, one per bar
    sounds: dict[str, tuple[str, Instrument]]
    resting: tuple[str, ...]  # role that rests in each two-bar section, "" for none
    mix: dict[str, float]  # level of each role in dB
    recording: RecordingConditions


def corpus_table(
    seed: int = 0,
    *,
    source_artists: int = 60,
    source_tracks: int = 20,
    target_artists: int = 24,
    target_tracks: int = 10,
) -> pd.DataFrame:
    """Return a corpus's tracks with their labels, without rendering the audio.

    A smaller corpus is a subset of a larger one, with the same paths, labels and samples.

    There is one row per track, with str columns: track_id and path (both the relative path), part
    ("source" or "target"), artist, album, genre, and subgenres and tags, each separated by `|`.
    """
    counts = {"source": (source_artists, source_tracks), "target": (target_artists, target_tracks)}
    rows = []
    for part, (artists, tracks) in counts.items():
        names = _artist_names(part)
        if not 0 <= artists <= len(names) or tracks < 0:
            raise InputError(
                f"{part}: {artists} artists with {tracks} tracks each; choose 0 to {len(names)} "
                "artists, and 0 tracks or more"
            )
        for artist, number in itertools.product(range(artists), range(tracks)):
            track = _draw_track(part, artist, number, seed)
            style, path = track.style, track.path
            labels = (style.genre, "|".join(style.subgenres), "|".join(_tags(track)))
            rows.append((path, path, part, names[artist], track.album, *labels))
    columns = ["track_id", "path", "part", "artist", "album", "genre", "subgenres", "tags"]
    return pd.DataFrame(rows, columns=columns, dtype=str)


def render_track(path: str, seed: int = 0) -> np.ndarray:
    """Render one track as (661500,) float32 at 22,050 Hz, within (-1, 1)."""
    try:
        part, artist, _, file = path.split("/")
        number = int(file.split("_")[0])
        track = _draw_track(part, _artist_names(part).index(artist), number, seed)
    except ValueError:
        track = None
    if track is None or track.path != path:
        raise InputError(f"{path}: not a track of the synthetic corpus; take a path of its table")
    rng = _rng(seed, path, "notes")
    return _record(_play(track, rng), track.recording, rng)


def write_corpus(root: Path, table: pd.DataFrame, seed: int = 0, workers: int = 2) -> int:
    """Render the tracks that do not yet exist below `root` as 16-bit FLAC; return their number."""
    _require_same_seed(root, seed)
    missing = [path for path in table["path"] if not (root / path).is_file()]
    task = functools.partial(_write_track, root, seed)
    with contextlib.closing(ordered_map(task, missing, workers=workers)) as outcomes:
        for outcome in cli.progress_bar(outcomes, total=len(missing), desc="music", unit="track"):
            if outcome.error is not None:
                raise outcome.error
    return len(missing)


def _require_same_seed(root: Path, seed: int) -> None:
    """Reject a folder rendered from a different seed; paths alone do not reveal the seed."""
    name, inputs = root / "corpus", {"seed": seed}
    if recorded := provenance.read_sidecar(name)["inputs"]:
        provenance.require_same(root, recorded, inputs)
        return
    with atomic_write(provenance.sidecar_path(name)) as partial:
        partial.write_text(provenance.to_json(provenance.make_record(inputs)), encoding="utf-8")


def _write_track(root: Path, seed: int, path: str) -> None:
    # Rendering and writing a track takes 45 ms, 9 ms of which go to FLAC at its lowest compression
    # level (WAV would take 5 ms). FLAC reduces the corpus from 1.9 to 1.3 GB; higher levels would
    # save at most another 4 %.
    with atomic_write(root / path) as partial:
        samples = render_track(path, seed)
        soundfile.write(
            partial, samples, RATE, format="FLAC", subtype="PCM_16", compression_level=0.0
        )


def _rng(*keys: int | str) -> np.random.Generator:
    """Return a random generator seeded by the given keys, identically in every process."""
    numbers = [zlib.crc32(key.encode()) if isinstance(key, str) else key for key in keys]
    return np.random.default_rng(np.random.SeedSequence(numbers))


# Drawing artists, tracks and tags


@functools.cache
def _artist_names(part: str) -> list[str]:
    """Return the names of a part's artists in order; the names do not depend on the seed."""
    names = _rng("artists").permutation(["_".join(n) for n in itertools.product(FIRST, SECOND)])
    return names[PARTS.index(part) :: len(PARTS)].tolist()


def _vary(sound, rng: np.random.Generator):
    """Return an artist's variant of a sound, with each number multiplied by a random factor."""
    return type(sound)(*(np.array(sound) * np.exp(rng.normal(0, 0.22, len(sound)))).tolist())


def _vary_pattern(pattern: str, rng: np.random.Generator) -> str:
    """Add or remove up to two hits; leave a pattern that contains only rests unchanged."""
    steps = list(pattern)
    for step in rng.choice(STEPS, rng.integers(0, 3), replace=False):
        steps[step] = "." if steps[step] != "." else pattern.strip(".")[:1] or "."
    return "".join(steps) if set(steps) != {"."} else pattern


def _choose(own: list[str], all_names: list[str], count: int, rng) -> list[str]:
    """Draw names from a genre's own; occasionally replace the last with one from any genre."""
    names = rng.permutation(own)[:count].tolist()
    if rng.random() < CROSSOVER:
        names[-1] = str(rng.choice(all_names))
    return names


@functools.cache
def _draw_style(part: str, number: int, seed: int) -> Style:
    """Draw the style of a part's artist `number`; consecutive artists cycle through the genres."""
    rng = _rng(seed, part, number, "style")
    name = list(GENRES)[number % len(GENRES)]
    genre = GENRES[name]
    subgenres = rng.permutation(list(genre["subgenres"]))[: rng.integers(1, 3)].tolist()
    sounds = {}
    for role, count in (("bass", 1), ("chords", 1), ("lead", 2)):
        all_names = sorted({own for g in GENRES.values() for own in g[role]})
        chosen = _choose(genre[role], all_names, count, rng)
        sounds[role] = tuple((name, _vary(INSTRUMENTS[name], rng)) for name in chosen)
    kit = _choose(genre["kits"], list(KITS), 1, rng)[0]
    groove = _draw_groove(GROOVES[subgenres[0]], GROOVES[subgenres[-1]], rng)
    weight = rng.uniform(0.3, 1.7, STEPS) * np.resize([1, rng.uniform(0.2, 0.9)], STEPS)
    return Style(
        genre=name,
        subgenres=tuple(sorted(subgenres)),
        groove=groove,
        tempo=rng.uniform(*groove.tempo),
        sounds=sounds,
        kit=(kit, _vary(KITS[kit], rng)),
        scales=tuple(rng.permutation(genre["scales"])[:2].tolist()),
        voicing=VOICINGS[str(rng.choice(genre["voicings"]))],
        roots=tuple(rng.permutation(6)[:4].tolist()),
        accents=genre["density"] * rng.uniform(0.7, 1.4) * weight / weight.mean(),
        leap=rng.uniform(0.8, 3.0),
        keynote={
            "bass": 36,
            "chords": int(rng.choice([48, 60])),
            "lead": int(rng.choice([60, 72])),
        },
        mix={role: rng.normal(0, 2.5) for role in ROLES},
    )


def _draw_groove(first: Groove, second: Groove, rng: np.random.Generator) -> Groove:
    """Draw a variant of one sub-genre's groove, with the hi-hats and chords of another."""
    own = {role: first for role in ("kick", "snare", "perc", "bass")}
    patterns: dict[str, Any] = {
        role: _vary_pattern(getattr(groove, role), rng)
        for role, groove in {**own, "hat": second, "chords": second}.items()
    }
    return replace(
        first,
        **patterns,
        swing=first.swing * rng.uniform(0.8, 1.1),
        ring=second.ring * rng.uniform(0.7, 1.3),
        arpeggio=second.arpeggio,
    )


def _draw_track(part: str, artist: int, number: int, seed: int) -> Track:
    """Draw track `number` by the part's artist with index `artist`."""
    style = _draw_style(part, artist, seed)
    names = _rng(part, artist, "albums")
    albums = names.permutation(FIRST)[: names.integers(2, 5)]
    place = number % len(albums)
    album = f"{albums[place]}_{names.permutation(SECOND)[place]}"
    rng = _rng(seed, part, artist, number, "song")
    title = "_".join(_rng(part, artist, number, "title").choice(SECOND, 2))
    resting = [str(rng.choice(["", *ROLES], p=[0.3, 0.1, 0.25, 0.1, 0.25])) for _ in range(4)]
    if rng.random() < 0.15:
        resting = ["lead"]
    return Track(
        path=f"{part}/{_artist_names(part)[artist]}/{album}/{number:02d}_{title}.flac",
        album=album,
        style=style,
        tempo=style.tempo * rng.uniform(0.94, 1.06),
        key=int(rng.integers(-5, 7)),
        scale=str(rng.choice(style.scales)),
        roots=tuple(rng.permutation(style.roots).tolist()),
        sounds={role: own[rng.integers(len(own))] for role, own in style.sounds.items()},
        resting=tuple(resting),
        mix={role: gain + rng.normal(0, 2) for role, gain in style.mix.items()},
        recording=_draw_recording(_rng(seed, part, artist, place, "album"), rng),
    )


def _draw_recording(album: np.random.Generator, track: np.random.Generator) -> RecordingConditions:
    """Draw recording conditions that depend partly on the album, partly on the track."""
    octaves = np.linspace(-1, 1, EQ_HZ.size)
    by_album, by_track = (
        rng.normal(0, 4.5) * octaves + rng.normal(0, 3.5, EQ_HZ.size) for rng in (album, track)
    )
    eq = 0.6 * by_album + 0.8 * by_track  # the squares of the weights sum to 1
    lo_fi = bool(track.random() < 0.25)
    if lo_fi:
        low, high = track.uniform(50, 250), track.uniform(3000, 7000)
        eq -= np.where((low < EQ_HZ) & (high > EQ_HZ), 0, 25)
    return RecordingConditions(
        level=track.uniform(-16, -1),
        eq=eq,
        lo_fi=lo_fi,
        noise=track.uniform(-52, -26),
        hiss=track.uniform(0, 0.9),
        drive=track.uniform(0.1, 1.5),
        room=album.uniform(0.03, 0.15),
        wet=album.uniform(0, 0.25) + track.uniform(0, 0.2),
    )


def _tags(track: Track) -> list[str]:
    """Return tags for audible features: instruments, tempo, mood, texture and recording."""
    groove, playing = track.style.groove, [role for role in ROLES if {role} != set(track.resting)]
    tags = {track.sounds[role][0] for role in playing if role != "drums"}
    drums = groove.kick + groove.snare + groove.hat + groove.perc
    hits_per_second = len(_hits(drums + groove.chords)) / STEPS * groove.beat * track.tempo / 60
    off_beat = [step % groove.beat != 0 for step, _ in _hits(groove.kick + groove.chords)]
    conditions = {
        track.style.kit[0]: "drums" in playing and set(drums) != {"."},
        "slow": track.tempo < 84,
        "medium": 84 <= track.tempo < 120,
        "fast": track.tempo >= 120,
        "melancholic": track.scale in ("minor", "dorian"),
        "cheerful": track.scale in ("major", "mixolydian"),
        "swinging": groove.swing > 0.15,
        "syncopated": np.mean(off_beat) > 0.5,
        "arpeggios": groove.arpeggio,
        "busy": hits_per_second > 10,
        "sparse": hits_per_second < 5,
        "lo-fi": track.recording.lo_fi,
        "reverberant": track.recording.wet > 0.3,
    }
    return sorted(tags | {tag for tag, applies in conditions.items() if applies})


# Synthesising notes and drum sounds


def _note(instrument: Instrument, pitch: float, seconds: float) -> np.ndarray:
    """Synthesise a note at a MIDI pitch as (samples,) float32 with a peak of 1."""
    hertz = 440 * 2 ** ((pitch - 69) / 12)
    t = np.arange(int(seconds * RATE), dtype=np.float32) / np.float32(RATE)
    vibrato = np.float32(2 * np.pi * 5.5)  # rad/s
    bend = np.float32(instrument.vibrato * np.log(2) / 12) / vibrato * np.sin(vibrato * t)
    phase = hertz * (t + bend * np.minimum(4 * t, 1))  # cycles; the vibrato starts slowly
    partials = np.arange(1, max(2, min(40, int(0.45 * RATE / hertz))))
    levels = partials**-instrument.slope * np.where(partials % 2, 1, instrument.even)
    bright = _cycle(levels, phase * (1 + instrument.detune)) * np.exp(t * (-1 / instrument.bright))
    wave = _cycle(levels / partials**1.2, phase) + bright
    wave = np.tanh((1 + instrument.drive) * wave)
    wave *= np.minimum(t / instrument.attack, 1) * np.exp(t * (-1 / instrument.decay))
    wave *= np.minimum((t[-1] - t) / 0.03, 1)
    return wave / abs(wave).max()


def _cycle(levels: np.ndarray, phase: np.ndarray) -> np.ndarray:
    """Evaluate a waveform with the given partial levels at each phase, in cycles."""
    spectrum = np.zeros(1025, complex)
    spectrum[1 : levels.size + 1] = levels * np.exp(1j * np.arange(levels.size) ** 2)
    table = np.fft.irfft(spectrum).astype(np.float32)
    table /= abs(table).max()
    return table[(phase * table.size).astype(np.int32) % table.size]


def _burst(rng: np.random.Generator, band, kind: str, decay: float) -> np.ndarray:
    """Synthesise decaying filtered noise as (samples,) float32 with a peak of 1."""
    t = np.arange(int(5 * decay * RATE), dtype=np.float32) / np.float32(RATE)
    noise = rng.standard_normal(t.size, dtype=np.float32)
    sound = sosfilt(butter(2, band, kind, fs=RATE, output="sos"), noise) * np.exp(-t / decay)
    return (sound / abs(sound).max()).astype(np.float32)


def _thump(hertz: float, decay: float, sweep: float) -> np.ndarray:
    """Synthesise a decaying sine that falls by `sweep` octaves to `hertz`, with a peak near 1."""
    t = np.arange(int(5 * decay * RATE), dtype=np.float32) / np.float32(RATE)
    phase = hertz * (t + 0.03 * (2**sweep - 1) * (1 - np.exp(t / -0.03)))
    return np.sin(2 * np.pi * phase) * np.exp(-t / decay)


def _drum_sounds(kit: Kit, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Synthesise a kit's drums; "x" is the closed hi-hat and "o" the open one."""
    middle, edge = min(kit.snare, 6000), min(kit.hat, 9000)
    snare = 0.7 * _burst(rng, (0.5 * middle, 1.6 * middle), "bandpass", kit.snare_decay)
    drumhead = 0.7 * kit.snare_tone * _thump(190, 0.05, 0)[: snare.size]
    snare[: drumhead.size] += drumhead
    return {
        "kick": _thump(kit.kick, kit.kick_decay, kit.sweep),
        "snare": snare,
        "x": 0.5 * _burst(rng, edge, "highpass", kit.hat_decay),
        "o": 0.5 * _burst(rng, edge, "highpass", 4 * kit.hat_decay),
        "perc": 0.6 * _thump(kit.perc, kit.perc_decay, 0.2),
    }


# Performing a track: each role yields its hits as (bar, step, sound)


def _play(track: Track, rng: np.random.Generator) -> np.ndarray:
    """Mix all roles of a track into (661500,) float32, without the recording conditions."""
    groove = track.style.groove
    seconds = 60 / track.tempo / groove.beat  # duration of one step
    bars = int(np.ceil(SAMPLES / RATE / seconds / STEPS))
    steps = np.arange(bars * STEPS)
    starts = ((steps + groove.swing * (steps % 2)) * seconds * RATE).astype(int)

    @functools.cache
    def note(role: str, degree: int, length: float) -> np.ndarray:
        octave, degree = divmod(degree, 7)
        pitch = track.style.keynote[role] + track.key + 12 * octave + SCALES[track.scale][degree]
        return _note(track.sounds[role][1], pitch, min(max(length * seconds, 0.1), 3))

    mix = np.zeros(SAMPLES, np.float32)
    for role, hits in (("drums", _drums), ("bass", _bass), ("chords", _chords), ("lead", _lead)):
        loudness = 10 ** (track.mix[role] / 20)
        playing = [
            bar for bar in range(bars) if track.resting[bar // 2 % len(track.resting)] != role
        ]
        for bar, step, sound in hits(track, playing, note, rng):
            start = starts[bar * STEPS + step]
            span = mix[start : start + sound.size]  # shorter than the sound at the end of the track
            span += np.float32(loudness * rng.uniform(0.7, 1)) * sound[: span.size]
    return mix


def _hits(pattern: str) -> list[tuple[int, str]]:
    """Return a pattern's hits as (step, mark)."""
    return [(step, mark) for step, mark in enumerate(pattern) if mark != "."]


def _drums(track, bars, note, rng):
    groove, sounds = track.style.groove, _drum_sounds(track.style.kit[1], rng)
    for name in ("kick", "snare", "hat", "perc"):
        for bar, (step, mark) in itertools.product(bars, _hits(getattr(groove, name))):
            yield bar, step, sounds[mark if name == "hat" else name]


def _bass(track, bars, note, rng):
    hits = _hits(track.style.groove.bass)
    for bar, (step, mark) in itertools.product(bars, hits):
        degree = track.roots[bar % 4] + int(mark) - 1
        yield bar, step, 0.7 * note("bass", degree, 0.9 * STEPS / len(hits))


def _chords(track, bars, note, rng):
    groove = track.style.groove
    for bar in bars:
        root = track.roots[bar % 4]
        voices = [0.6 * note("chords", root + d, groove.ring) for d in track.style.voicing]
        voices = voices if groove.arpeggio else [sum(voices) / len(voices)]
        for turn, (step, _) in enumerate(_hits(groove.chords)):
            yield bar, step, voices[turn % len(voices)]


def _lead(track, bars, note, rng):
    """Yield the notes of a repeating two-bar melody."""
    style = track.style
    rhythm = rng.random((2, STEPS)) < style.accents
    rhythm[0, rng.integers(STEPS)] = True
    degrees = np.round(rng.normal(0, style.leap, rhythm.shape)).cumsum().reshape(rhythm.shape) % 10
    length = np.clip(0.9 / style.accents.mean(), 1, 6)
    for bar in bars:
        for step in np.flatnonzero(rhythm[bar % 2]):
            yield bar, step, 0.6 * note("lead", int(degrees[bar % 2, step]), length)


def _record(
    music: np.ndarray, recording: RecordingConditions, rng: np.random.Generator
) -> np.ndarray:
    """Apply equalisation, reverberation, noise, saturation and level; return float32 samples."""
    grid = np.maximum(np.fft.rfftfreq(512, 1 / RATE), EQ_HZ[0])
    gains = 10 ** (np.interp(np.log(grid), np.log(EQ_HZ), recording.eq) / 20)
    eq = np.roll(np.fft.irfft(gains), 256) * np.hanning(512)
    t = np.arange(int(0.35 * RATE)) / RATE
    room = 0.1 * recording.wet * rng.standard_normal(t.size) * np.exp(-t / recording.room)
    room[0] = 1  # the direct sound
    # Reverberation and equalisation share one filter, because convolution takes most of the time.
    music = oaconvolve(music, np.convolve(room, eq).astype(np.float32))[:SAMPLES]
    music /= np.sqrt(np.mean(music**2))
    loop = rng.standard_normal(4 * RATE, dtype=np.float32)
    loop += np.float32(recording.hiss) * np.roll(loop, 1)
    music += np.resize(np.float32(10 ** (recording.noise / 20)) * loop, SAMPLES)
    music = np.tanh(np.float32(recording.drive / 2) * music)
    return music * np.float32(10 ** (recording.level / 20) / abs(music).max())
