"""Every metric with what must be known before its numbers are believed, as data: for reports, documents and tests."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from explain.metrics import concentration, faithfulness, localisation, randomisation, stability

_DEAD = "no value; counted apart"
_EITHER = "no value if either map is empty; counted apart"
_EMPTY = "no value; counted apart"
_NO_MASKS = "needs no masks"


@dataclass(frozen=True)
class Metric:
    """One metric, and how far it can be trusted.

    low, high: the range of its values. better: which way is good; "neither" where that is not what it says. forward:
    passes of the network an image, at the default settings. maps: further maps an image, each at its method's own cost;
    None: one for each module with weights. dead, empty: what it does on empty maps and empty masks. controlled: what a
    null control takes the place of: the map, the second map that a map is compared with, or the explainer that makes them.
    nulls: what the controls come to, where that is known beforehand.
    """

    name: str
    title: str
    definition: str
    low: float
    high: float
    better: Literal["higher", "lower", "neither"]
    forward: int
    maps: int | None
    dead: str
    empty: str
    controlled: Literal["map", "second map", "explainer"]
    nulls: str
    criticism: str
    source: str
    function: Callable[..., Any]

    @property
    def range(self) -> str:
        low, high = ("∞" if math.isinf(end) else f"{end:g}".replace("-", "−") for end in (self.low, self.high))
        return f"{low} to {high}"

    @property
    def cost(self) -> str:
        maps = {0: "", 1: "1 further map", None: "1 further map for each module with weights"}.get(
            self.maps, f"{self.maps} further maps")
        passes = f"{self.forward} forward passes" if self.forward else ""
        return ", ".join(part for part in (passes, maps) if part) or "no forward pass"


METRICS = {metric.name: metric for metric in (
    Metric("relevance_mass", "Relevance mass", "positive evidence inside the object ÷ all positive evidence",
           0, 1, "higher", 0, 0, _DEAD, _EMPTY, "map",
           "uniform: the object's share of the image; no map of a resolution exceeds its ceiling",
           "uninterpretable alone: read it between the uniform map and the ceiling (`Score`); favours maps that shrink onto a "
           "part of the object; an object is not always the only honest evidence",
           "Wang et al., Score-CAM, CVPR workshops 2020, arXiv 1910.01279", localisation.relevance_mass),
    Metric("relevance_rank", "Relevance rank", "of as many pixels as the object has, those with the most evidence: share on "
           "the object", 0, 1, "higher", 0, 0, _DEAD, _EMPTY, "map", "uniform: the object's share of the image",
           "ties, broken here by the mean over all ways; blind to how much evidence the pixels have",
           "Arras et al., CLEVR-XAI, Information Fusion 2022, arXiv 2003.07258", localisation.relevance_rank),
    Metric("pointing_game", "Pointing game", "whether the pixel with the most evidence lies on the object", 0, 1, "higher",
           0, 0, _DEAD, _EMPTY, "map", "uniform: the object's share of the image",
           "saturates; a guess at the middle of the image does well; one pixel decides",
           "Zhang et al., Excitation Backprop, ECCV 2016, arXiv 1608.00507", localisation.pointing_game),
    Metric("gini", "Gini index", "concentration of the positive evidence over the cells", 0, 1, "neither", 0, 0, _DEAD,
           _NO_MASKS, "map", "uniform: 0; another image: the same distribution",
           "concentrated is not right; depends on the number of cells",
           "Chalasani et al., ICML 2020, arXiv 1810.06583", concentration.gini),
    Metric("entropy", "Entropy", "Shannon's entropy of the positive evidence over the cells ÷ log(cells)", 0, 1, "neither",
           0, 0, _DEAD, _NO_MASKS, "map", "uniform: 1; another image: the same distribution",
           "as the Gini index, and less moved by single cells", "Shannon, 1948", concentration.entropy),
    Metric("deletion", "Deletion", "area under the class's probability as pixels are greyed, most evidence first", 0, 1,
           "lower", faithfulness.STEPS + 1, 0, _DEAD, _NO_MASKS, "map", "uniform: pixels go in a fixed random order",
           "half-greyed images are unlike any that were trained on; a network trained with cutout withstands them, so two arms "
           "differ for that alone: read it with insertion and the controls of the same arm",
           "Petsiuk et al., RISE, BMVC 2018, arXiv 1806.07421", faithfulness.deletion),
    Metric("insertion", "Insertion", "area under the class's probability as pixels come into a grey image, most evidence "
           "first", 0, 1, "higher", faithfulness.STEPS + 1, 0, _DEAD, _NO_MASKS, "map",
           "uniform: pixels come in a fixed random order",
           "as deletion; favours maps in one piece, for a piece of an object is more like an image than scattered pixels",
           "Petsiuk et al., RISE, BMVC 2018, arXiv 1806.07421", faithfulness.insertion),
    Metric("infidelity", "Infidelity", "share of the score's changes, under greyed squares, that the map's sums over the "
           "squares leave unexplained", 0, 1, "lower", 2 * (faithfulness.SAMPLES + 1), 0, _DEAD, _NO_MASKS, "map",
           "uniform: what the mean change explains by itself",
           "depends on the squares' size; the best factor may be negative, so a map of opposite sign does as well; greyed "
           "squares are unlike trained images",
           "Yeh et al., NeurIPS 2019, arXiv 1901.09392; captum infidelity", faithfulness.infidelity),
    Metric("max_sensitivity", "Max-sensitivity", "largest relative change of the map under small noise on the image", 0,
           math.inf, "lower", 0, 11, _DEAD, _NO_MASKS, "explainer", "uniform, gaussian: 0; another image: the same values",
           "constant maps win; depends on the noise's size",
           "Yeh et al., NeurIPS 2019, arXiv 1901.09392; captum sensitivity_max", stability.max_sensitivity),
    Metric("parameter_randomisation", "Parameter randomisation", "rank correlation with the map after weights are "
           "re-initialised, from the head down, cascading or one module at a time",
           -1, 1, "lower", 0, None, _EITHER, _NO_MASKS, "second map",
           "uniform: none, for it is constant; another image: how alike any two maps are, below which no cascade need fall",
           "an edge detector survives it and may still be asked for by the task; correlation of maps with a fixed shape of "
           "their own stays high",
           "Adebayo et al., NeurIPS 2018, arXiv 1810.03292; criticism: Yona and Greenfeld, 2021, arXiv 2110.14297",
           randomisation.parameter_randomisation),
    Metric("seed_consistency", "Seed consistency", "correlation over cells with the map of a network trained from another "
           "seed, same image", -1, 1, "higher", 0, 1, _EITHER, _NO_MASKS, "second map",
           "uniform: none, for it is constant", "consistent can be wrong; all maps with a blob in the middle agree",
           "this project's: plain correlation", stability.seed_consistency),
    Metric("flip_consistency", "Flip equivariance", "correlation over pixels with the mirror image's map, mirrored back", -1, 1,
           "higher", 0, 1, _EITHER, _NO_MASKS, "second map", "uniform: none, for it is constant; gaussian: how central a map is",
           "a network trained on mirrored images has been taught it; says nothing of being right",
           "Wang et al., SEAM, CVPR 2020, arXiv 2004.04581, for the question; the measure is plain correlation",
           stability.flip_consistency),
    Metric("occlusion_agreement", "Agreement with occlusion", "rank correlation over pixels with the occlusion map of the same "
           "image and class", -1, 1, "higher", 0, 1, _EITHER, _NO_MASKS, "second map", "uniform: none, for it is constant",
           "occlusion is no truth either: its squares are coarse and unlike trained images",
           "Zeiler and Fergus, ECCV 2014, arXiv 1311.2901, for occlusion", stability.occlusion_agreement),
)}
