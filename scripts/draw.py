"""Pictures, sounds, words and bytes that stand for what users feed their networks. It needs numpy and Pillow alone."""

from __future__ import annotations

import math
import pathlib
from collections.abc import Iterable

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from fetch import cache_folder

CACHE = cache_folder()
WORDS = ("river", "garden", "window", "silver", "market", "bridge", "copper", "yellow",
         "planet", "engine", "harbor", "winter", "castle", "forest", "signal", "kernel")

# Images.


def photograph(name: str, width: int, height: int) -> np.ndarray:
    """A photograph cropped in its middle to the aspect and resized: RGB, 0 to 255, HWC."""
    image = Image.open(CACHE / "images" / name).convert("RGB")
    scale = max(width / image.width, height / image.height)
    crop_w, crop_h = width / scale, height / scale
    left, top = (image.width - crop_w) / 2, (image.height - crop_h) / 2
    box = (left, top, left + crop_w, top + crop_h)
    resized = image.resize((width, height), Image.Resampling.BICUBIC, box=box)
    return np.asarray(resized, np.float32)


def planes(images: list[np.ndarray]) -> np.ndarray:
    """Images in HWC to a batch in NCHW."""
    return np.ascontiguousarray(np.stack(images).transpose(0, 3, 1, 2), np.float32)


def signed_bgr(images: list[np.ndarray]) -> np.ndarray:
    """RGB images to BGR in NCHW, from -1 to 1."""
    return planes([(image[..., ::-1] / 255 - 0.5) / 0.5 for image in images])


def labelled_line(random: np.random.Generator, width: int, text: str = "") -> tuple[np.ndarray, str]:
    """A rendered line of text, 48 high, padded on the right (RGB, 0 to 255, HWC), and the text: two words or digits.

    The font is the one inside Pillow, so that every machine draws the same.
    """
    text = text or (" ".join(random.choice(WORDS, 2)) if random.random() < 0.7
                    else str(random.integers(10**6, 10**9)))
    ink = tuple(int(v) for v in random.integers(0, 90, 3))
    paper = tuple(int(v) for v in random.integers(190, 256, 3))
    font = ImageFont.load_default(size=int(random.integers(22, 34)))
    left, top, right, bottom = font.getbbox(text)
    image = Image.new("RGB", (int(right - left) + 20, int(bottom - top) + 14), paper)
    ImageDraw.Draw(image).text((10 - left, 7 - top), text, ink, font)
    image = image.rotate(random.uniform(-2, 2), Image.Resampling.BICUBIC, fillcolor=paper)
    image = image.filter(ImageFilter.GaussianBlur(random.uniform(0, 0.8)))
    image = image.resize((min(width, image.width * 48 // image.height), 48))
    line = np.full((48, width, 3), 127.5, np.float32)
    line[:, :image.width] = np.asarray(image, np.float32)
    noise = random.normal(0, random.uniform(0, 8), (48, image.width, 3))
    line[:, :image.width] = np.clip(line[:, :image.width] + noise, 0, 255)
    return line, text


def text_line(random: np.random.Generator, width: int) -> np.ndarray:
    """The picture of a labelled_line."""
    return labelled_line(random, width)[0]


def crop(random: np.random.Generator, width: int, height: int) -> np.ndarray:
    """A part of one of the photographs, RGB from 0 to 255."""
    files = sorted(p for p in (CACHE / "images").iterdir() if p.suffix in (".png", ".jpg"))
    image = Image.open(files[random.integers(len(files))]).convert("RGB")
    scale = random.uniform(0.4, 1) * min(image.width / width, image.height / height)
    w, h = width * scale, height * scale
    left, top = random.uniform(0, image.width - w), random.uniform(0, image.height - h)
    box = (left, top, left + w, top + h)
    return np.asarray(image.resize((width, height), Image.Resampling.BICUBIC, box=box), np.float32)


def imagenet(image: np.ndarray) -> np.ndarray:
    """As torchvision's networks see a photograph."""
    return ((image / 255 - (0.485, 0.456, 0.406)) / (0.229, 0.224, 0.225)).astype(np.float32).transpose(2, 0, 1)


# Sound.


def notes(rate: int, count: int, pitches: Iterable[float] = (220.0, 277.2, 329.6, 440.0, 554.4)) -> np.ndarray:
    """Plucked notes with overtones, one after the other, from -1 to 1."""
    time = np.arange(count) / rate
    sound = np.zeros(count)
    for index, pitch in enumerate(pitches):
        since = time - 0.35 * index
        decay = np.where(since >= 0, np.exp(-3 * np.maximum(since, 0)), 0)
        for overtone in range(1, 6):
            sound += 0.2 / overtone * decay * np.sin(2 * np.pi * pitch * overtone * time)
    return sound.astype(np.float32)


def voice(rate: int, count: int) -> np.ndarray:
    """Something like a vowel: a gliding buzz through three formants, from -1 to 1."""
    time = np.arange(count) / rate
    phase = 2 * np.pi * np.cumsum(120 + 30 * np.sin(2 * np.pi * 2.5 * time)) / rate
    sound = np.zeros(count)
    for overtone in range(1, 30):
        pitch = 120 * overtone
        gain = sum(math.exp(-((pitch - formant) / 160) ** 2) for formant in (700, 1220, 2600))
        sound += (gain + 0.02) * np.sin(overtone * phase)
    syllables = 0.5 - 0.5 * np.cos(2 * np.pi * 4 * time)
    noise = np.random.default_rng(7).normal(0, 0.004, count)
    return (0.5 * sound * syllables / abs(sound).max() + noise).astype(np.float32)


# Words and files.


def pieces(word: str, index: dict[str, int]) -> list[str]:
    """The longest pieces of a word that the vocabulary has."""
    found, start = [], 0
    while start < len(word):
        prefix = "##" if start else ""
        ends = (end for end in range(len(word), start, -1) if prefix + word[start:end] in index)
        end = next(ends, 0)
        if not end:
            return ["[UNK]"]
        found.append(prefix + word[start:end])
        start = end
    return found


def magika_features(path: pathlib.Path) -> np.ndarray:
    """The first and last 1,024 bytes of a file; 256 stands for no byte."""
    content = path.read_bytes()
    first, last = content[:4096].lstrip()[:1024], content[-4096:].rstrip()[-1024:]
    row = np.full(2048, 256, np.int32)
    row[:len(first)] = list(first)
    row[2048 - len(last):] = list(last)
    return row
