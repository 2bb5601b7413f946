"""Trained networks, data for them, and what is read off their outputs.

Each task draws as many samples as are asked for, always the same ones for a seed. It needs numpy and Pillow alone.
"""

from __future__ import annotations

import math
import pathlib
import re
import sysconfig
from collections.abc import Callable
from dataclasses import dataclass, field
from pydoc_data.topics import topics

import numpy as np

import paths  # noqa: F401: before what is in its folder of scripts
from draw import CACHE, crop, imagenet, labelled_line, magika_features, notes, pieces, planes, signed_bgr

Sample = dict[str, np.ndarray]  # inputs by name, each with a leading dim of 1

# Data: each draws one sample and its label.


def photograph(random: np.random.Generator) -> tuple[Sample, None]:
    """BGR less the mean, NHWC."""
    return {"input:0": (crop(random, 224, 224)[None, ..., ::-1] - (104, 117, 123)).astype(np.float32)}, None


def page(random: np.random.Generator) -> tuple[Sample, None]:
    """A photograph, normalised as ImageNet's."""
    return {"x": imagenet(crop(random, 480, 320))[None]}, None


def portrait(random: np.random.Generator) -> tuple[Sample, None]:
    """A photograph, RGB from 0 to 255."""
    return {"input.1": planes([crop(random, 320, 256)])}, None


class Lines:
    """Rendered lines of one or two words of a dictionary, or digits, and their text."""

    def __init__(self) -> None:
        self.words = [word for word in vocabulary() if re.fullmatch("[a-z]{4,9}", word)]

    def __call__(self, random: np.random.Generator) -> tuple[Sample, str]:
        text = (" ".join(random.choice(self.words, random.integers(1, 3))) if random.random() < 0.7
                else str(random.integers(10**3, 10**10)))
        image, _ = labelled_line(random, 320, text)
        return {"x": signed_bgr([image])}, text.replace(" ", "")


def turned_line(random: np.random.Generator) -> tuple[Sample, int]:
    """A rendered line, and whether it stands on its head."""
    image, turned = labelled_line(random, 192)[0], int(random.integers(2))
    return {"x": signed_bgr([image[::-1, ::-1] if turned else image])}, turned


class Sentences:
    """Sentences of Python's own manual, as word pieces."""

    def __init__(self) -> None:
        self.index = {word: number for number, word in enumerate(vocabulary())}
        text = re.split(r"(?<=[.:])\s+", " ".join(topics[key] for key in sorted(topics)))
        self.sentences = [s for s in text if 30 < len(s) < 160]

    def __call__(self, random: np.random.Generator) -> tuple[Sample, None]:
        words = re.findall(r"\w+|[^\w\s]", self.sentences[random.integers(len(self.sentences))].lower())
        tokens = ["[CLS]", *[t for word in words for t in pieces(word, self.index)][:30], "[SEP]"]
        ids = np.zeros((1, 32), np.int64)
        ids[0, :len(tokens)] = [self.index[token] for token in tokens]
        return {"input_ids": ids, "attention_mask": (ids != 0).astype(np.int64), "token_type_ids": 0 * ids}, None


def chord(random: np.random.Generator) -> tuple[Sample, None]:
    """Two seconds of plucked notes at 22,050 Hz."""
    pitches = 110 * 2 ** (random.integers(0, 37, random.integers(2, 7)) / 12)
    return {"serving_default_input_2:0": notes(22050, 43844, pitches).reshape(1, -1, 1)}, None


class Files:
    """What a file of Python's own library, of this environment or of the photographs begins and ends with."""

    def __init__(self) -> None:
        folders = (pathlib.Path(sysconfig.get_path(name)) for name in ("stdlib", "purelib"))
        by_kind: dict[str, list[pathlib.Path]] = {}
        for path in sorted(path for folder in (*folders, CACHE / "images") for path in folder.rglob("*")):
            if path.is_file() and path.stat().st_size >= 64:
                by_kind.setdefault(path.suffix, []).append(path)
        self.kinds = [by_kind[suffix] for suffix in sorted(by_kind)]

    def __call__(self, random: np.random.Generator) -> tuple[Sample, None]:
        kind = self.kinds[random.integers(len(self.kinds))]
        return {"bytes": magika_features(kind[random.integers(len(kind))])[None]}, None


def vocabulary() -> list[str]:
    """The word pieces of minilm."""
    return (CACHE / "weights/minilm-vocab.txt").read_text("utf-8").split("\n")


# Decisions: of all outputs, an array of a row for each sample.


def largest(outputs: np.ndarray) -> np.ndarray:
    """The class at each place."""
    return outputs.argmax(-1)


def place(outputs: np.ndarray) -> np.ndarray:
    """Where the largest element is."""
    return outputs.reshape(len(outputs), -1).argmax(-1)


def regions(outputs: np.ndarray) -> np.ndarray:
    """Where a detector finds text: a probability above 0.3."""
    return outputs > math.log(0.3 / 0.7)


def sounding(outputs: np.ndarray) -> np.ndarray:
    """Which notes sound when: probabilities above 0.3, the threshold of basic-pitch."""
    return outputs > 0.3


def nearest(outputs: np.ndarray) -> np.ndarray:
    """For each sentence the most similar other one. The embeddings have unit length."""
    similar = outputs @ outputs.T
    np.fill_diagonal(similar, -2)
    return similar.argmax(-1)


def agreement(ours: np.ndarray, wanted: np.ndarray) -> float:
    """How often decisions are the same; of regions, their overlap."""
    if wanted.dtype == bool:
        return float((ours & wanted).sum() / max((ours | wanted).sum(), 1))
    return float((ours == wanted).mean())


def texts(classes: np.ndarray, stored: list[str]) -> list[str]:
    """Greedy CTC: repetitions count once, class 0 is the blank."""
    characters = ["", *stored, ""]
    return ["".join(characters[c] for k, c in enumerate(row) if k == 0 or c != row[k - 1]) for row in classes]


def labels(decisions: np.ndarray, characters: list[str]) -> list:
    """Decisions as labels are written, with the characters of a recogniser."""
    return texts(decisions, characters) if decisions.ndim > 1 else decisions.tolist()


def content(sample: Sample) -> bytes:
    """What tells samples apart."""
    return b"".join(array.tobytes() for array in sample.values())


@dataclass
class Task:
    """A network, its data and what is read off its output."""

    sample: Callable[[], Callable[[np.random.Generator], tuple[Sample, object]]]
    decide: Callable[[np.ndarray], np.ndarray]
    output: int = 0
    # For ONNX Runtime: the operators that it quantises, None for all that it can, and further options.
    operators: list[str] | None = None
    extra: dict = field(default_factory=dict)

    def draw(self, count: int, seed: int, apart_from: list[Sample] = []) -> tuple[list[Sample], list]:
        """Samples and their labels, no two the same, nor the same as others."""
        random, sample = np.random.default_rng(seed), self.sample()
        drawn, seen = [], {content(s) for s in apart_from}
        while len(drawn) < count:
            inputs, label = sample(random)
            if content(inputs) not in seen:
                seen.add(content(inputs))
                drawn.append((inputs, label))
        return [s for s, _ in drawn], [label for _, label in drawn]


TASKS = {
    "ppocr-rec": Task(Lines, largest),
    "ppocr-det": Task(lambda: page, regions),
    "ppocr-cls": Task(lambda: turned_line, largest),
    "open-nsfw": Task(lambda: photograph, largest),
    "centerface-dynamic": Task(lambda: portrait, place),
    "basic-pitch": Task(lambda: chord, sounding, output=1),
    # ONNX Runtime's quantiser fails in its adjustment for biases, and quantises a sum's constant in a shape of its own.
    "magika": Task(Files, largest, operators=["Conv", "MatMul"], extra={"QDQDisableWeightAdjustForInt32Bias": True}),
    # In a transformer sums with the attention mask, of -10000, must not be quantised.
    "minilm": Task(Sentences, nearest, output=1, operators=["MatMul"]),
}


def figures(outputs: np.ndarray, wanted: np.ndarray, task: Task, known: list, characters: list[str]) -> dict:
    """How good the outputs are beside those of fp32 and beside the labels."""
    got, want = (a.astype(np.float64).reshape(len(a), -1) for a in (outputs, wanted))
    error, power = float(((got - want) ** 2).sum()), float((want ** 2).sum())
    lengths = np.linalg.norm(got, axis=1) * np.linalg.norm(want, axis=1)
    decided, decided_fp32 = task.decide(outputs), task.decide(wanted)
    row = {"sqnr_db": 10 * math.log10(power / error) if error else math.inf,
           "cosine": float(((got * want).sum(1) / np.maximum(lengths, 1e-30)).mean()),
           "same": agreement(decided, decided_fp32), "decisions": 0 if decided.dtype == bool else decided.size}
    if known[0] is not None:
        row["right"] = float(np.mean([a == b for a, b in zip(labels(decided, characters), known)]))
    return row
