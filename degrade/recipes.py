"""Named recipes as data."""

from .recipe import Choice, Recipe, Step, Uniform

_SHRINK = Choice(("area", "bilinear", "bicubic"), (0.6, 0.15, 0.25))
_GREY = Choice((False, True), (0.6, 0.4))
_CHROMA = Choice(("4:2:0", "4:4:4"), (0.8, 0.2))
_TURN = Uniform(0.0, 3.1416)

RECIPES: dict[str, Recipe] = {
    recipe.name: recipe
    for recipe in (
        Recipe(
            name="mild",
            scale=4,
            source="assumed: one upload of a decent phone photo",
            steps=(
                Step("blur", {"sigma": Uniform(0.2, 1.4)}, probability=0.7),
                Step("shrink", {"mode": _SHRINK}),
                Step("gaussian_noise", {"sigma": Uniform(0.0, 4.0), "grey": _GREY}, probability=0.5),
                Step("jpeg", {"quality": Uniform(60, 95), "subsampling": _CHROMA}, probability=0.75),
            ),
        ),
        Recipe(
            name="ugc",
            scale=4,
            source="assumed; blur, resize, noise, JPEG, twice, as in Real-ESRGAN (arXiv 2107.10833)",
            steps=(
                Step(
                    "blur",
                    {"sigma": Uniform(0.2, 2.2), "stretch": Uniform(0.5, 1.6), "angle": _TURN},
                    probability=0.8,
                ),
                Step("rescale", {"factor": Uniform(0.35, 0.9), "mode": _SHRINK}, probability=0.3),
                Step("gaussian_noise", {"sigma": Uniform(1.0, 8.0), "grey": _GREY}, probability=0.2),
                Step("jpeg", {"quality": Uniform(50, 95), "subsampling": _CHROMA}, probability=0.4),
                Step("shrink", {"mode": _SHRINK}),
                Step("gaussian_noise", {"sigma": Uniform(0.0, 9.0), "grey": _GREY}, probability=0.5),
                Step("shot_noise", {"sigma": Uniform(0.0, 9.0), "grey": _GREY}, probability=0.3),
                Step("jpeg", {"quality": Uniform(40, 95), "subsampling": _CHROMA}, probability=0.8),
            ),
        ),
        Recipe(
            name="messenger",
            scale=4,
            source="assumed: one fixed chain of soft focus, resize, sensor noise and a quality-70 upload",
            steps=(
                Step("blur", {"sigma": 1.2}),
                Step("shrink", {"mode": "area"}),
                Step("gaussian_noise", {"sigma": 4.0, "grey": False}),
                Step("jpeg", {"quality": 70, "subsampling": "4:2:0"}),
            ),
        ),
    )
}
