"""Draw src/tallystick/cli/picture.png, the picture that `tally demo` works on: a split tally stick at dawn.

Everything is computed here, with numpy alone, from one seed: smooth gradients, mist and fine detail, as a photograph
has them. Run `python examples/make_picture.py [OUT.png]` from the repository's root to draw it again.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tallystick.adapters.png import write_png
from tallystick.kernels.raster import Raster

WIDTH, HEIGHT, FINER = 600, 700, 3
SEED = 1166
SUN = (214.0, 322.0)
NOTCHES = (62, 104, 122, 140, 182, 196, 210, 224, 238, 286, 304)
LARGE_NOTCHES = frozenset({62, 286, 304})
OUT = Path(__file__).resolve().parent.parent / "src" / "tallystick" / "cli" / "picture.png"

Plane = NDArray[np.float64]
Colour = tuple[float, float, float]


def smooth(low: float, high: float, value: Plane) -> Plane:
    """Zero below ``low``, one above ``high``, smooth between."""
    t = np.clip((value - low) / (high - low), 0, 1)
    return t * t * (3 - 2 * t)


def value_noise(rng: np.random.Generator, x: Plane, y: Plane) -> Plane:
    """Smooth noise in 0..1 with one lattice point per unit."""
    lattice = rng.random((256, 256))
    column, row = np.floor(x).astype(int), np.floor(y).astype(int)
    u, v = x - column, y - row
    u, v = u * u * (3 - 2 * u), v * v * (3 - 2 * v)
    corner = [[lattice[(row + j) % 256, (column + i) % 256] for i in (0, 1)] for j in (0, 1)]
    top = corner[0][0] * (1 - u) + corner[0][1] * u
    result: Plane = top * (1 - v) + (corner[1][0] * (1 - u) + corner[1][1] * u) * v
    return result


def layered_noise(rng: np.random.Generator, x: Plane, y: Plane, octaves: int) -> Plane:
    """Value noise at doubling frequencies, in 0..1."""
    total = np.zeros(np.broadcast(x, y).shape)
    for octave in range(octaves):
        total = total + value_noise(rng, x * 2.0**octave + 17.3 * octave, y * 2.0**octave) * 0.5 ** (octave + 1)
    return total / (1 - 0.5**octaves)


def blend(image: Plane, colour: Plane | Colour, cover: Plane) -> None:
    """Lay a colour over the image, in place."""
    image += (np.asarray(colour) - image) * cover[..., None]


def ramp(position: Plane, stops: list[tuple[float, Colour]]) -> Plane:
    """Colours along a gradient."""
    places = [place for place, _ in stops]
    return np.stack([np.interp(position, places, [colour[c] for _, colour in stops]) for c in range(3)], axis=-1)


def sky(rng: np.random.Generator, x: Plane, y: Plane) -> Plane:
    """A clear dawn with a low sun, thin clouds and the last stars."""
    image = ramp(
        y / HEIGHT,
        [
            (0.00, (0.045, 0.075, 0.190)),
            (0.16, (0.110, 0.160, 0.330)),
            (0.30, (0.330, 0.300, 0.480)),
            (0.40, (0.720, 0.480, 0.480)),
            (0.47, (0.960, 0.660, 0.420)),
            (0.55, (1.000, 0.800, 0.520)),
        ],
    )
    distance = np.hypot(x - SUN[0], (y - SUN[1]) * 1.15)
    stars(rng, image, x, y)
    wisps = layered_noise(rng, x / 210, y / 26, 6)
    veil = smooth(0.50, 0.80, wisps) * smooth(40, 130, y) * (1 - smooth(290, 350, y))
    lit = np.exp(-distance / 190)[..., None]
    blend(image, np.array([0.62, 0.46, 0.52]) * (1 - lit) + np.array([1.0, 0.78, 0.52]) * lit, 0.75 * veil)
    image += np.exp(-distance / 120)[..., None] * np.array([0.34, 0.20, 0.06])
    image += np.exp(-((distance / 46) ** 2))[..., None] * np.array([0.30, 0.24, 0.14])
    blend(image, (1.0, 0.965, 0.86), 1 - smooth(24.2, 25.6, np.hypot(x - SUN[0], y - SUN[1])))
    return image


def stars(rng: np.random.Generator, image: Plane, x: Plane, y: Plane) -> None:
    """Small bright points that fade towards the horizon."""
    for _ in range(90):
        left, top = rng.uniform(0, WIDTH), rng.uniform(0, 190)
        strength = rng.uniform(0.15, 0.9) * (1 - top / 210)
        near = (
            slice(int(top * FINER) - 12, int(top * FINER) + 12),
            slice(int(left * FINER) - 12, int(left * FINER) + 12),
        )
        spot = np.exp(-((x[near] - left) ** 2 + (y[near] - top) ** 2) / 0.55)
        image[near] += (strength * spot)[..., None] * np.array([0.9, 0.95, 1.0])


def hills(rng: np.random.Generator, image: Plane, x: Plane, y: Plane) -> None:
    """Ridges, the farther the paler, with mist between them and conifers along the nearer ones."""
    far, near = np.array([0.80, 0.57, 0.50]), np.array([0.045, 0.085, 0.105])
    for index, (base, relief, width, trees) in enumerate(
        [(338, 46, 210, 0), (372, 50, 150, 0), (418, 58, 190, 9.5), (468, 52, 120, 15), (522, 50, 150, 20.5)]
    ):
        depth = index / 4
        line = base + relief * (layered_noise(rng, x[:1] / width + 9 * index, np.full_like(x[:1], index), 5) - 0.5) * 2
        ground = y - line
        if trees:
            line = line - conifers(rng, x[:1], trees)
        below = y - line
        colour = (far * (1 - depth) ** 1.35 + near * (1 - (1 - depth) ** 1.35))[None, None]
        texture = layered_noise(rng, x / (3 + 2 * index), y / (2 + index), 4)[..., None] - 0.5
        slope = colour * (1 + 0.55 * depth * texture)
        mist = (smooth(-6, 62 + 8 * index, ground) * (0.62 - 0.34 * depth))[..., None]
        glow = np.exp(-np.hypot(x - SUN[0], y - SUN[1] - 60) / 210)[..., None]
        haze = np.array([0.74, 0.60, 0.62]) * (1 - glow) + np.array([1.0, 0.74, 0.50]) * glow
        blend(image, slope * (1 - mist) + haze * mist, smooth(-0.35, 0.35, below))
        edge = np.exp(-np.abs(below - 1.2) / 1.3) * np.exp(-np.abs(x - SUN[0]) / 120) * (0.30 - 0.2 * depth)
        image += edge[..., None] * np.array([1.0, 0.72, 0.40])


def conifers(rng: np.random.Generator, x: Plane, height: float) -> Plane:
    """The outline of a forest: the highest of many triangles at each column."""
    outline = np.zeros_like(x)
    for _ in range(int(5200 / height)):
        centre, tall = rng.uniform(-5, WIDTH + 5), height * rng.uniform(0.35, 1.25)
        side = np.abs(x - centre) / (tall * 0.27)
        ragged = 1 - side + 0.13 * np.abs(np.sin(side * 17)) * (side < 1)
        outline = np.maximum(outline, tall * ragged)
    return outline


def meadow(rng: np.random.Generator, image: Plane, x: Plane, y: Plane) -> None:
    """The dark slope in front."""
    line = 590 - 22 * np.sin((x[:1] - 60) / 150) + 9 * layered_noise(rng, x[:1] / 24, x[:1] * 0, 4)
    below = y - line
    clumps = layered_noise(rng, x / 13, y / 5, 5)[..., None]
    light = np.exp(-np.hypot((x - SUN[0]) / 1.7, y - 585) / 120)[..., None]
    colour = np.array([0.050, 0.070, 0.040]) * (0.45 + 1.1 * clumps) + light * clumps * np.array([0.40, 0.25, 0.06])
    blend(image, colour * np.clip(1.15 - below / 190, 0.35, 1)[..., None], smooth(-0.4, 0.4, below))


def grass(rng: np.random.Generator, image: Plane, x: Plane, y: Plane, count: int, roots: tuple[float, float]) -> None:
    """Bent blades, each a thin curve that catches some light from the sun's side."""
    for root_y in np.sort(rng.uniform(*roots, count)):
        root_x, tall = rng.uniform(-10, WIDTH + 10), rng.uniform(9, 26) * (0.55 + (root_y - 570) / 100)
        bend = rng.normal(0, 0.34) * tall
        top, bottom = int((root_y - tall) * FINER), min(int(root_y * FINER), y.shape[0])
        left = max(0, int((root_x - abs(bend) - 3) * FINER))
        right = min(x.shape[1], int((root_x + abs(bend) + 3) * FINER))
        if right <= left or bottom <= top:
            continue
        near = (slice(top, bottom), slice(left, right))
        along = (root_y - y[near]) / tall
        width = 0.95 * np.clip(1 - along, 0, 1) ** 0.7 + 0.12
        cover = 1 - smooth(0.0, 0.55, np.abs(x[near] - root_x - bend * along**2) - width)
        sunny = np.exp(-abs(root_x - SUN[0]) / 190) * rng.uniform(0.2, 1)
        tint = np.array([0.035, 0.055, 0.030]) * rng.uniform(0.5, 1.7)
        colour = tint + (along**1.5)[..., None] * sunny * np.array([0.72, 0.50, 0.17])
        part = image[near]
        blend(part, colour, cover * 0.95)


def half_stick(rng: np.random.Generator, image: Plane, u: Plane, v: Plane, side: int, length: float) -> None:
    """One half of the split stick; ``u`` runs across from its split face, ``v`` down from its top, in pixels."""
    width = 25 + 0.9 * np.sin(v / 61 + side) + 0.5 * np.sin(v / 17)
    inside = np.minimum(np.minimum(u, width - u), np.minimum(v + 7 * np.sin(u / 9 + side), length - v))
    notch = np.full_like(u, 99.0)
    for place in NOTCHES:
        deep = 10.5 if place in LARGE_NOTCHES else 6.0
        notch = np.minimum(notch, np.abs(v - place) - deep * 0.42)
    grain = layered_noise(rng, u / 2.1 + 1.6 * np.sin(v / 90), v / 95, 5)
    fibre = layered_noise(rng, u * 1.3, v / 22, 3)
    across = np.clip(u / width, 0, 1)
    lean = across if side > 0 else 1 - across
    shade = 0.40 + 0.75 * np.sin(np.pi * (0.16 + 0.72 * (1 - lean if side > 0 else lean)))
    wood = np.array([0.74, 0.52, 0.31]) * (0.58 + 0.50 * grain + 0.20 * fibre)[..., None]
    bark = smooth(0.74, 0.86, across + 0.10 * (layered_noise(rng, u / 6, v / 15, 4) - 0.5))
    rough = layered_noise(rng, u / 2.5, v / 5, 4)
    wood = (
        wood * (1 - bark[..., None]) + (np.array([0.27, 0.19, 0.14]) * (0.4 + 1.2 * rough)[..., None]) * bark[..., None]
    )
    colour = wood * shade[..., None]
    carved = 1 - smooth(-0.3, 0.5, notch)
    lower = smooth(-1.5, 4.0, -notch)
    blend(colour, (0.15, 0.085, 0.045), carved * (0.55 + 0.40 * lower))
    colour += (np.exp(-np.abs(notch - 0.9) / 0.7) * (1 - carved) * 0.22)[..., None] * np.array([1.0, 0.80, 0.52])
    if side < 0:
        colour += np.exp(-np.clip(width - u, 0, None) / 2.6)[..., None] * np.array([0.80, 0.48, 0.18])
    colour *= (1 - 0.55 * np.exp(-np.clip(u, 0, None) / 1.6))[..., None]
    blend(image, colour, smooth(-0.35, 0.35, inside))


def stick(rng: np.random.Generator, image: Plane, x: Plane, y: Plane) -> None:
    """Stock and foil, split apart at the top and planted in the meadow, their notches still in line."""
    for side, lean in ((-1, -0.012), (1, 0.062)):
        foot_x, foot_y, length = 424.0 + side * 2.2, 650.0, 432.0
        along_x, along_y = -np.sin(lean), np.cos(lean)
        from_x, from_y = x - foot_x, y - foot_y
        across = (from_x * along_y - from_y * along_x) * side
        down = from_x * along_x + from_y * along_y + length
        shadow = np.exp(-np.clip(np.abs(across - 12) - 12, 0, None) / 7) * smooth(length - 70, length + 8, down)
        image *= (1 - 0.5 * shadow * (1 - smooth(length + 5, length + 30, down)))[..., None]
        half_stick(rng, image, across, down, side, length)


def picture() -> NDArray[np.uint8]:
    """The whole picture, uint8 (700, 600, 3)."""
    rng = np.random.default_rng(SEED)
    y, x = np.indices((HEIGHT * FINER, WIDTH * FINER)).astype(np.float64)
    x, y = (x + 0.5) / FINER, (y + 0.5) / FINER
    image = sky(rng, x, y)
    hills(rng, image, x, y)
    meadow(rng, image, x, y)
    grass(rng, image, x, y, 2600, (578, 654))
    stick(rng, image, x, y)
    grass(rng, image, x, y, 2300, (650, 735))
    small = np.clip(image, 0, 1).reshape(HEIGHT, FINER, WIDTH, FINER, 3).mean(axis=(1, 3))
    vignette = 1 - 0.30 * np.hypot((x - 300) / 420, (y - 340) / 500)[1::FINER, 1::FINER] ** 2.4
    grain = rng.normal(0, 0.0045, small.shape[:2])
    final: NDArray[np.float64] = np.clip(small * vignette[..., None] + grain[..., None], 0, 1)
    return (final * 255 + 0.5).astype(np.uint8)


def main() -> None:
    """Write the picture."""
    out = Path(sys.argv[1]) if len(sys.argv) > 1 else OUT
    with out.open("wb") as file:
        write_png(file, Raster(picture()), level=9)


if __name__ == "__main__":
    main()
