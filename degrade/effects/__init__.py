"""The table of all effects, by the name that recipes use."""

from .blur import defocus_blur, gaussian_blur, generalized_blur, motion_blur, plateau_blur, sinc_blur
from .camera import chroma_subsample, demosaic, denoise
from .codecs import avif, jpeg, webp
from .color_filter import color_filter
from .effect import Effect
from .noise import correlated_noise, gaussian_noise, poisson_noise, sensor_noise, shot_noise
from .overlay import caption, sticker
from .resize import fake_hd, rescale, shrink
from .screenshot import screenshot
from .sharpen import sharpen, usm
from .video import video

EFFECTS: dict[str, Effect[...]] = {
    effect.name: effect
    for effect in (
        gaussian_blur,
        generalized_blur,
        plateau_blur,
        sinc_blur,
        defocus_blur,
        motion_blur,
        rescale,
        shrink,
        fake_hd,
        gaussian_noise,
        shot_noise,
        poisson_noise,
        correlated_noise,
        sensor_noise,
        demosaic,
        denoise,
        sharpen,
        usm,
        chroma_subsample,
        jpeg,
        webp,
        avif,
        video,
        screenshot,
        caption,
        sticker,
        color_filter,
    )
}
