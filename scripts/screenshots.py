# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Take pictures that tests made of pages over into ``docs/``, with few colours: they are small then."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

ROOT = Path(__file__).resolve().parent.parent
MADE = ROOT / "build" / "screenshots"
SHOWN = {"claire": "run-page", "claire-phone-dark": "run-page-phone"}
"""name of a test's picture -> that in docs/images"""
COLOURS = 128


def main() -> None:
    for name, shown in SHOWN.items():
        target = ROOT / "docs" / "images" / f"{shown}.png"
        with Image.open(MADE / f"{name}.png") as picture:
            picture.convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE).save(target, optimize=True)
        print(f"{target.relative_to(ROOT)}: {target.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
