"""Socket types of the extension; the comment beside each names the class of its values."""

from comfy_api.latest import io

Semantics = io.Custom("UGCSR_SEMANTICS")  # models.semantics.Semantics
Encoder = io.Custom("UGCSR_ENCODER")  # host.encoder.LoadedEncoder
Adapter = io.Custom("UGCSR_ADAPTER")  # host.adapter.LoadedAdapter
Frame = io.Custom("UGCSR_FRAME")  # sample.frame.Frame
Recipe = io.Custom("UGCSR_RECIPE")  # degrade.recipe.Recipe
Degradation = io.Custom("UGCSR_DEGRADATION")  # tuple of degrade.degradation.Degradation, one a photo
Tags = io.Custom("UGCSR_TAGS")  # host.tags.Tags
