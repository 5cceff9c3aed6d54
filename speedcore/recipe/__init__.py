"""What a recipe is: frozen, validated data, one idea a file, and the words for it. No code that trains."""

from speedcore.recipe.averages import AverageConfig, LookaheadConfig
from speedcore.recipe.base import Frozen, Part
from speedcore.recipe.custom import CustomAugmentation, CustomConfig, CustomNetworkConfig, CustomTechnique
from speedcore.recipe.images import Augment, Loader
from speedcore.recipe.networks import DavidNetConfig, DigitNetConfig, Network, PageNetConfig, PreactNetConfig, RecordNetConfig
from speedcore.recipe.optimizers import AdadeltaConfig, AdamConfig, MuonConfig, Optimizer, SGDConfig, WhitenBias
from speedcore.recipe.recipe import Recipe, merged, validated
from speedcore.recipe.schedules import Schedule
from speedcore.recipe.testing import Peek, TTAConfig

__all__ = [
    "AdadeltaConfig", "AdamConfig", "Augment", "AverageConfig", "CustomAugmentation", "CustomConfig", "CustomNetworkConfig",
    "CustomTechnique", "DavidNetConfig", "DigitNetConfig", "Frozen", "Loader", "LookaheadConfig", "MuonConfig", "Network",
    "Optimizer", "PageNetConfig", "Part", "Peek", "PreactNetConfig", "Recipe", "RecordNetConfig", "SGDConfig", "Schedule",
    "TTAConfig", "WhitenBias", "merged", "validated",
]
