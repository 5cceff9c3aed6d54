"""What a recipe is made of: frozen, validated data, one idea a file. `speedcore.recipe` puts it together."""

from speedcore.parts.averages import Average, Lookahead
from speedcore.parts.base import Frozen, Part
from speedcore.parts.images import Augment, Loader
from speedcore.parts.networks import DavidNet, DigitNet, Network, PageNet, PreactNet, RecordNet
from speedcore.parts.optimizers import SGD, Adadelta, Adam, Muon, Optimizer, WhitenBias
from speedcore.parts.schedules import Schedule
from speedcore.parts.testing import Peek, Views
