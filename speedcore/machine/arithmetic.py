"""In which arithmetic a machine is quickest: a race of the same work in fp32, bf16 and fp16, its answer kept per machine.

Flags do not tell: processors without bf16 units take bf16 all the same, eight times slower than fp32; GPUs before sm_80 say that
they support it and loop over images. So the work itself is timed, in turns, and whoever is far behind is not asked again.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import torch

from speedcore.machine import processor
from speedcore.machine.cache import cache_folder

# Whatever takes this many times the quickest one's lap is out after that lap.
FAR_BEHIND = 3.0
# What a fixed arithmetic costs is said from this factor on.
SAID = 1.5
# Another arithmetic than fp32 has to be worth it: nearer than this the race is within its own noise.
_MARGIN = 0.95
_LAPS, _SECONDS = 5, 2.0
# Nobody drops out before so many laps, or seconds in them.
_FAIR_LAPS, _FAIR_SECONDS = 3, 0.3
# What decides about speed beside processor and versions, where somebody has set it.
_SWITCHES = ("ONEDNN_MAX_CPU_ISA", "ATEN_CPU_CAPABILITY", "SPEEDCORE_ISA", "MKL_ENABLE_INSTRUCTIONS")


@dataclass(frozen=True)
class Decision:
    """precision: the one to train in. seconds: the best lap of each arithmetic that was raced."""

    precision: str
    seconds: dict[str, float]

    def sentence(self, device: torch.device, used: str | None = None) -> str:
        """Why a run is in this arithmetic or, where a recipe asks for `used`, what that costs."""
        asked, used = used is not None, used or self.precision
        where = "processor" if device.type == "cpu" else "GPU"
        others = {name: taken for name, taken in self.seconds.items() if name != used}
        if used not in self.seconds or not others:
            return f"trained in {used}"
        other = min(others, key=others.__getitem__)
        ratio = others[other] / self.seconds[used]
        if asked:
            cost = f": on this {where} that takes {1 / ratio:.2g} × as long as {other}" if 1 / ratio > SAID else ""
            return f"trained in {used}, as the recipe says{cost}"
        if ratio < 1 / _MARGIN:
            return f"trained in {used}: on this {where} {other} is no quicker"
        return f"trained in {used}: on this {where} {other} takes {ratio:.2g} × as long"


def together(sentences: Iterable[str]) -> list[str]:
    """Sentences of `Decision.sentence`, each once; those that differ in the factor alone as one, with its range."""
    factors: dict[str, list[str]] = {}
    for sentence in sentences:
        frame, _, found = sentence.partition(" takes ")
        number, times, rest = found.partition(" ×")
        factors.setdefault(f"{frame} takes {{}}{times}{rest}" if times else sentence, []).append(number)
    said = []
    for frame, numbers in factors.items():
        least, most = min(numbers, key=_number), max(numbers, key=_number)
        said.append(frame.replace("{}", least if least == most else f"{least} to {most}"))
    return said


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return 0.0


def candidates(device: torch.device) -> tuple[str, ...]:
    """What is worth racing on a kind of device, fp32 first. On Apple's GPUs only fp32 was ever tried."""
    if device.type == "cuda":
        # Loss scaling makes fp16 the harder of the two: only where bf16 has no units of its own.
        return ("fp32", "bf16") if torch.cuda.get_device_capability(device) >= (8, 0) else ("fp32", "fp16")
    return ("fp32", "bf16") if device.type == "cpu" else ("fp32",)


def race(names: tuple[str, ...], lap: Callable[[str], float]) -> Decision:
    """Time `lap(name)` (seconds of some work in that arithmetic, warmed up) in turns and choose by the best lap of each.

    Whoever is far behind drops out, but not for a single lap that another program interrupted; after two seconds of laps nobody
    is asked again.
    """
    laps: dict[str, list[float]] = {name: [] for name in names}
    left = list(names)
    while len(left) > 1 and len(laps[left[0]]) < _LAPS and sum(map(sum, laps.values())) < _SECONDS:
        for name in left:
            laps[name].append(lap(name))
        best = min(map(min, laps.values()))
        left = [name for name in left if min(laps[name]) < best * FAR_BEHIND
                or (len(laps[name]) < _FAIR_LAPS and sum(laps[name]) < _FAIR_SECONDS)]
    seconds = {name: min(taken) for name, taken in laps.items()}
    quickest = min(seconds, key=seconds.__getitem__)
    return Decision(names[0] if seconds[quickest] > _MARGIN * seconds[names[0]] else quickest, seconds)


def decide(device: torch.device, what: str, lap: Callable[[str], float]) -> Decision:
    """The answer kept for this machine and `what` is done there (any text that names it), else a race's, which is kept."""
    names = candidates(device)
    if len(names) == 1:
        return Decision(names[0], {})
    path = _home(device) / f"{_digest(what)}.json"
    kept = _read(path, names)
    if kept is None:
        kept = _raced(names, lap, expected(device))
        _write(path, kept, what)
    return kept


def _raced(names: tuple[str, ...], lap: Callable[[str], float], likely: str) -> Decision:
    """A race's answer. One against what the device says of itself has to come up twice in three: the machine may be busy."""
    first = race(names, lap)
    if first.precision == likely:
        return first
    tries = [first, race(names, lap), race(names, lap)]
    wins = Counter(one.precision for one in tries)
    return next(one for one in tries if wins[one.precision] > 1)


def expected(device: torch.device) -> str:
    """What should win by what the device says of itself."""
    if device.type == "cuda":
        return candidates(device)[1]
    return "bf16" if device.type == "cpu" and {"avx512_bf16", "amx_bf16", "bf16"} & processor.features() else "fp32"


def signature(device: torch.device) -> str:
    """Whatever decides how quick a device is: model, instruction sets, threads, torch, switches."""
    if device.type == "cuda":
        major, minor = torch.cuda.get_device_capability(device)
        parts = [torch.cuda.get_device_name(device), f"sm_{major}{minor}", torch.version.cuda, torch.backends.cudnn.version()]
    else:
        parts = [platform.machine(), processor.model(), *sorted(processor.features()), torch.get_num_threads()]
    switches = [f"{name}={os.environ[name]}" for name in _SWITCHES if name in os.environ]
    return "\n".join(map(str, [device.type, *parts, torch.__version__, *switches]))


def _home(device: torch.device) -> Path:
    return cache_folder() / "arithmetic" / _digest(signature(device))


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _read(path: Path, names: tuple[str, ...]) -> Decision | None:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        found = Decision(content["precision"], {str(name): float(taken) for name, taken in content["seconds"].items()})
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return found if found.precision in names and all(taken > 0 for taken in found.seconds.values()) else None


def _write(path: Path, decision: Decision, what: str) -> None:
    """Keep an answer. A cache that cannot be written costs the next race, nothing else."""
    content = {"what": what, "precision": decision.precision, "seconds": decision.seconds}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", dir=path.parent, delete=False, encoding="utf-8") as file:
            json.dump(content, file, indent=1)
        os.replace(file.name, path)
    except OSError:
        pass

