"""Text on held-out photos: restored without masks, with Weigh Regions, and with Blend Regions."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import ImageDraw
from torch import Tensor

from ugc_sr.degrade.degradation import apply
from ugc_sr.degrade.recipes import RECIPES
from ugc_sr.fonts import font_for
from ugc_sr.host.nano import LoadedNano, load_nano
from ugc_sr.host.weigh_regions import weigh_regions
from ugc_sr.image import to_socket
from ugc_sr.sample.frame import finish, fit
from ugc_sr.sample.masks import feathered, put_back
from ugc_sr.score.measures import psnr_y, ssim_y
from ugc_sr.score.pil_image import from_picture, to_picture
from ugc_sr.train.photos import HELD_OUT

from .quickstart import restore
from .samples import SEED, SIDE_PX, crop

MEASURED = ("upload", "messenger")
LINES = (("Closed on Mondays", 24), ("Platform 7 - 18:42", 36), ("FRESH BREAD", 56))  # text, size in px
TEXT = tuple(text for text, _ in LINES)
MISREAD = ("Clesed an Mendoys", "Flatfern 1 - 10:47", "FLESH BROOD")
RIM_PX, MARGIN_PX = 2, 10
FEATHER_PX = 16  # defaults of Blend Regions
SHOWN = ("dogs", "brushes", "astronaut")  # held-out photos of known origin
SHOWN_BOX = (8, 196, 376, 284)  # around the second line

Box = tuple[int, int, int, int]  # left, top, right, bottom in px


def run(photos: str, picture: str | None = None) -> Iterator[dict[str, Any]]:
    """Yield a row for each recipe, size of letters and version: means over the boxes around the text.

    Args:
        photos: folder that tools/fetch_photos.sh filled.
        picture: file for a sheet of the first recipe's versions, in the order of the rows, then the
            original; no sheet is drawn if not given.
    """
    nano = load_nano()
    for recipe in (RECIPES[name] for name in MEASURED):
        scores: dict[tuple[int, str], list[tuple[float, float]]] = {}
        columns: list[Tensor] = []
        for index, (name, held_out) in enumerate(HELD_OUT.items()):
            photo, degradation = crop(Path(photos), held_out), recipe.draw(SEED + index)
            gt, lr = apply(degradation, write_on(photo, TEXT, dark=index % 2 == 1))
            misread, _ = apply(degradation, write_on(photo, MISREAD, dark=index % 2 == 1))
            made = versions(nano, lr, misread)
            for (_, size), box in zip(LINES, boxes(), strict=True):
                for version, sr in made.items():
                    scores.setdefault((size, version), []).append(_score(_under(sr, box), _under(gt, box)))
            if name in SHOWN:
                columns.append(torch.cat([_under(shown, SHOWN_BOX) for shown in (*made.values(), gt)], dim=2))
        if picture and recipe.name == MEASURED[0]:
            to_picture(torch.cat(columns, dim=3)).save(picture, quality=92)
        for (size, version), values in scores.items():
            psnr, ssim = np.mean(values, axis=0).round(4).tolist()
            row = {"name": version, "recipe": recipe.name, "letters_px": size, "boxes": len(values)}
            yield {**row, "psnr_y": psnr, "ssim_y": ssim}


@torch.inference_mode()
def versions(nano: LoadedNano, lr: Tensor, misread: Tensor) -> dict[str, Tensor]:
    """Return name -> picture: bicubic, nano, and a model that always estimates `misread`; also with nodes."""
    hint, frame = fit(lr, scale=4)
    mask = torch.zeros(1, 1, *hint.shape[2:])
    for box in boxes():
        _under(mask, box).fill_(1)
    latent, wrong = (nano.vae.encode(to_socket(picture)) for picture in (hint, misread))

    def restored(model: Any) -> Tensor:
        return restore(replace(nano, model=model), lr)

    def held(model: Any) -> Tensor:
        return restored(weigh_regions(model, latent, mask[:, 0], strength=1.0))

    misreading = _always(nano.model, wrong)
    invented, original = restored(misreading), finish(hint, frame)
    return {
        "bicubic": original,
        "nano": restored(nano.model),
        "nano, Weigh Regions": held(nano.model),
        "misreading": invented,
        "misreading, Weigh Regions": held(misreading),
        "misreading, Blend Regions": put_back(invented, original, feathered(mask, FEATHER_PX), "detail"),
    }


def _always(model: Any, latent: Tensor) -> Any:
    """Return a model that always estimates this latent; it simulates a model that invents letters."""
    answer = model.get_model_object("latent_format").process_in(latent)
    model = model.clone()
    model.set_model_sampler_post_cfg_function(lambda _: answer)
    return model


def write_on(photo: Tensor, text: Sequence[str], dark: bool) -> Tensor:
    """Return the photo (1, 3, 512, 512) with three lines of text, white with a dark rim or dark on white."""
    picture = to_picture(photo)
    draw = ImageDraw.Draw(picture)
    ink, rim = ((28, 28, 30), (236, 232, 220)) if dark else ((250, 250, 250), (20, 20, 20))
    for line, (_, size), (left, top, right, bottom) in zip(text, LINES, boxes(), strict=True):
        if dark:
            draw.rectangle((left, top, right - 1, bottom - 1), fill=rim)
        middle = (left + right) / 2, (top + bottom) / 2
        draw.text(
            middle,
            line,
            font=font_for(line, size),
            fill=ink,
            stroke_width=RIM_PX,
            stroke_fill=rim,
            anchor="mm",
        )
    return from_picture(picture)


def boxes() -> list[Box]:
    """Return the boxes around the lines of text, with a margin."""
    found = []
    for index, lines in enumerate(zip(TEXT, MISREAD, strict=True)):
        size = LINES[index][1]
        width = max(font_for(line, size).getlength(line) for line in lines)
        top = 40 + index * (SIDE_PX // 3)
        found.append((24, top, 24 + round(width) + 2 * MARGIN_PX, top + size + 2 * MARGIN_PX))
    return found


def _score(sr: Tensor, gt: Tensor) -> tuple[float, float]:
    return psnr_y(sr, gt).item(), ssim_y(sr, gt).item()


def _under(picture: Tensor, box: Box) -> Tensor:
    left, top, right, bottom = box
    return picture[..., top:bottom, left:right]
