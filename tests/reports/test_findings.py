"""From numbers to verdicts, against differences worked out by hand."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from explain.claim.preregistration import preregistration
from reports import findings
from reports.inputs import Inputs
from reports.results import load
from speedcore import stats
from speedcore.store.runs import RunStore
from tests.reports import making


def accuracy_claims(tmp_path, **sets) -> dict[str, findings.Claim]:
    """Claims on accuracy of data sets given as name=(right without, right with), in 30ths."""
    store, runs, data = RunStore(tmp_path), [], {}
    for name, (without, augmented) in sets.items():
        data[name] = making.dataset(name)
        runs += making.pairs(store, data[name], without, augmented)
    results = load(Inputs(datasets=data, runs=tuple(runs)))
    return {claim.dataset: claim for claim in findings.claims(results) if claim.kind == "accuracy"}


def test_six_agreeing_pairs_support_the_claim(tmp_path) -> None:
    claim = accuracy_claims(tmp_path, mnist=([20] * 6, [23, 24, 23, 26, 23, 23]))["mnist"]
    assert claim.differences == pytest.approx([0.1, 4 / 30, 0.1, 0.2, 0.1, 0.1])
    assert claim.difference == pytest.approx(22 / 180)
    assert claim.p == claim.p_holm == 2 / 64
    assert claim.verdict == "supported"
    sentence = findings.sentence(claim)
    assert sentence.startswith("On MNIST, test accuracy was 12.22 points higher with augmentation (mean of 6\xa0paired "
                               "seeds")
    assert sentence.endswith("p\xa0=\xa00.031): the claim is supported.")


def test_the_opposite_is_said_to_be_the_opposite(tmp_path) -> None:
    claim = accuracy_claims(tmp_path, mnist=([23] * 6, [20] * 6))["mnist"]
    assert claim.verdict == "not supported"
    assert "10.00 points lower" in findings.sentence(claim)
    assert findings.sentence(claim).endswith("the runs show the opposite of the claim.")


def test_disagreeing_pairs_do_not_support_it(tmp_path) -> None:
    claim = accuracy_claims(tmp_path, mnist=([20] * 6, [22, 22, 22, 18, 18, 18]))["mnist"]
    assert claim.difference == pytest.approx(0) and claim.p == 1
    assert claim.verdict == "not supported"


def test_five_pairs_are_not_testable(tmp_path) -> None:
    claim = accuracy_claims(tmp_path, mnist=([20] * 5, [29, 28, 29, 30, 29]))["mnist"]
    assert claim.verdict == "not testable" and claim.p_holm is None and claim.needed == 6
    assert "smallest p of 5 is 0.062" in findings.sentence(claim)
    assert claim.interval.kind.startswith("Student's t at 98 %") and claim.interval.low > 0


def test_verdicts_are_corrected_for_the_sets_that_are_tested(tmp_path) -> None:
    found = accuracy_claims(tmp_path, mnist=([20] * 7, [23] * 7), shapes=([20] * 7, [24] * 7),
                            cifar10=([20] * 3, [24] * 3))
    assert [found[name].verdict for name in ("mnist", "shapes", "cifar10")] == ["supported", "supported",
                                                                                "not testable"]
    assert found["mnist"].p == 2 / 128 and found["mnist"].p_holm == 4 / 128
    assert "after Holm’s correction" in findings.sentence(found["mnist"])
    assert found["cifar10"].needed == 7


def test_two_sets_of_six_pairs_cannot_be_tested_together(tmp_path) -> None:
    """2 · 2/64 > .05: whatever they show, Holm's correction for two would not let them through."""
    found = accuracy_claims(tmp_path, mnist=([20] * 6, [23] * 6), shapes=([20] * 6, [24] * 6))
    assert {claim.verdict for claim in found.values()} == {"not testable"}
    assert {claim.needed for claim in found.values()} == {7}


@pytest.mark.parametrize(("pairs", "fewest"), [
    ([6], 6), ([5], math.inf), ([], math.inf), ([7, 7], 7), ([6, 6], math.inf), ([7, 7, 7], 7),
    ([7, 7, 7, 7], math.inf),
    ([8, 8, 8, 8], 8), ([0, 10, 3], 10), ([10, 6], 10), ([10, 7], 7),
])
def test_claims_are_tested_from_so_many_pairs(pairs: list[int], fewest: float) -> None:
    assert stats.testable_from(pairs) == fewest


def test_attention_needs_masks_and_says_so(whole) -> None:
    from reports.sections.context import Context

    claims = {(c.kind, c.dataset): c for c in Context(load(whole.inputs)).claims}
    left_out = claims["attention", "folder:cats"]
    assert left_out.n == 0 and left_out.verdict == "not testable"
    assert "no object masks" in findings.sentence(left_out)
    tested = claims["attention", "mnist"]
    by_run = {e.record.run: e.record.layers["middle"].score.score for e in whole.inputs.explanations
              if e.record.dataset == "mnist"}
    assert tested.without == tuple(by_run[f"mnist-without-tiny-s{seed}"] for seed in tested.seeds)
    assert tested.augmented == tuple(by_run[f"mnist-with-tiny-s{seed}"] for seed in tested.seeds)


def test_unequal_steps_are_a_caveat(tmp_path) -> None:
    store, data = RunStore(tmp_path), making.dataset()
    runs = [making.save(store, data, "without", 0, 20), making.save(store, data, "with", 0, 22, steps=6)]
    claim, _ = findings.claims(load(Inputs(datasets={}, runs=tuple(runs))))
    assert "1 of 1\xa0pair the two arms did not take the same number of steps" in claim.caveats[0]


def test_what_is_claimed_of_heatmaps_is_what_was_preregistered(whole) -> None:
    from reports.sections.context import Context

    logical = preregistration().claims["logical"]
    claim = next(c for c in Context(load(whole.inputs)).claims if (c.kind, c.dataset) == ("attention", "mnist"))
    assert (claim.text, claim.bound) == (logical.text, logical.primary.bound)
    assert any("10 pairs were preregistered, this report has 6" in caveat for caveat in claim.caveats)


def test_the_difference_on_images_that_both_arms_get_right(whole) -> None:
    """With maps that lie half as much on the object in one arm, as if of images of which some are answered wrongly: by hand,
    the mass of those that are not, between their area and their ceiling."""
    from reports.sections.context import Context

    explained = {}
    for e in whole.inputs.explanations:
        explained[e.record.run] = e
        if "middle_mass_true" not in e.arrays:
            continue  # a data set without masks
        halved = e.arrays["middle_mass_true"] * (1 if e.record.arm == "without" else 0.5)
        explained[e.record.run] = replace(e, arrays=e.arrays | {"middle_mass_true": halved,
                                                                "measured_index": e.arrays["measured_index"] + 14})
    inputs = replace(whole.inputs, explanations=tuple(explained.values()))
    claim = next(c for c in Context(load(inputs)).claims if (c.kind, c.dataset) == ("attention", "mnist"))
    runs, differences = {r.record.key: r for r in inputs.runs}, []
    for seed in claim.seeds:
        keys = [f"mnist-{arm}-tiny-s{seed}" for arm in ("without", "with")]
        index = explained[keys[0]].arrays["measured_index"]
        rows = [i for i, image in enumerate(index) if all(
            runs[key].predictions["logits"][image].argmax() == runs[key].predictions["labels"][image] for key in keys)]
        assert 0 < len(rows) < len(index)  # of images 14 to 22 the arms get 14 to 19, 20 or 21 right
        scores = []
        for key in keys:
            a = explained[key].arrays
            kept = [i for i in rows if a["middle_mass_true"][i] == a["middle_mass_true"][i]]
            m, s, c = (sum(a[name][i] for i in kept) / len(kept) for name in
                       ("middle_mass_true", "foreground", "middle_ceiling"))
            scores.append((m - s) / (c - s))
        differences.append(100 * (scores[1] - scores[0]))
    said = next(caveat for caveat in claim.caveats if "both arms get right" in caveat)
    mean = sum(differences) / len(differences)
    assert mean < -1 and f"is {mean:+.2f} points".replace("-", "−") in said


def test_a_difference_within_the_bounds_is_said_to_be_equivalent() -> None:
    made = [findings.Claim("attention", name, name, "it is so", without=(0.5,) * 7, augmented=augmented,
                           seeds=tuple(range(7)), bound=0.05)
            for name, augmented in (("mnist", (0.501, 0.502, 0.503, 0.501, 0.502, 0.503, 0.504)), ("shapes", (0.6,) * 7))]
    same, more = findings._judged(made)
    assert (same.verdict, more.verdict) == ("equivalent within bounds", "supported")
    assert same.p_equivalence == 2 / 128  # the smaller of two, all-plus alone reaches it: 1/128, doubled by Holm
    sentence = findings.sentence(same)
    assert sentence.endswith("smaller than the 5 points that would matter (equivalence, p\xa0=\xa00.016).")
