"""The programs side by side: an option is the same wherever there is one of its name, and command lines of before work."""

from __future__ import annotations

import shlex
from collections.abc import Iterator

import pytest
import typer

from explain.__main__ import app as explain
from explain.studies.__main__ import app as studies
from reports.build import app as build
from speedcore.cli.app import app as speedcore
from speedcore.cli.options import OLD_WORDS

PROGRAMS = {"speedcore": typer.main.get_command(speedcore), "explain": typer.main.get_command(explain),
            "explain.studies": typer.main.get_command(studies), "reports.build": typer.main.get_command(build)}
# The README's commands as they were before options had one name each, and the words that were given up then.
BEFORE = """\
reports.build --all
reports.build --all --recipe auto --budget 1000 --within 15m --seeds auto --data DIR --out out --formats html,pdf --offline
reports.build --datasets mnist,cifar10,folder:PATH --device auto --data-mode device --replan --runs RUNS
reports.build --chapters mnist-fast,mine
reports.build --datasets shapes --within 2m
speedcore data
speedcore data --datasets folder:PATH
speedcore plan --all
speedcore plan --datasets fashion-mnist --recipe mine.toml
speedcore train --dataset mnist --recipe record --budget 60
speedcore train --policy dawnbench --seed 1 --arm without --data-mode precomputed
speedcore target --dataset mnist --accuracy 99 --seeds 30
speedcore target --accuracy 99 --seeds 3 --json --budget none
speedcore verify runs/RUN --data DIR --offline
speedcore ladder mnist-fast
speedcore ladder mine.toml
speedcore ladder --list
speedcore ladder mnist-fast --rungs 8 --seeds 30
speedcore ladder record-fashion-mnist --scale data=0.25,epochs=0.5,width=0.5
speedcore study --list
speedcore study forgetting
speedcore study lr-finder --steps 100 --seed 2
speedcore study lr-by-dataset-size --scale data=0.1,epochs=0.2,width=0.125 --seeds 3 --factors 1/8,1
speedcore study convergence --data DIR --epochs 24,40 --scale data=0.1,width=0.25
speedcore study architecture-search --networks base,extra:L2 --within 20m
speedcore study batch-norm-scales --data DIR --seeds 1
speedcore study compute-bound --recipe record,sprint
speedcore precompute --dataset mnist --epochs 2 --into epochs
explain RUN --out x.html
explain RUN RUN --out x.html --method grad-cam --method saliency --layer last --per-class 5 --class cat --wrong --data DIR
explain.studies shortcuts
explain.studies shortcuts --epochs 3 --arms with --correlations 0,1 --shortcut hue --train 1000 --test 100
explain.studies claim
explain.studies claim --datasets shapes,mnist --epochs shapes=3,mnist=1 --parts none --no-match --images-per-class 10
""".splitlines()


def commands() -> Iterator[tuple[str, typer.core.TyperCommand]]:
    """("speedcore train", command) of each command of each program, groups too."""
    waiting = list(PROGRAMS.items())
    while waiting:
        name, command = waiting.pop()
        yield name, command
        waiting += [(f"{name} {inner}", one) for inner, one in getattr(command, "commands", {}).items()]


def parsed(line: str) -> tuple[str, dict]:
    """(command, what its options hold) of a command line, which is not carried out. Raises typer's own errors."""
    program, *words = shlex.split(line)
    command, context = PROGRAMS[program], None
    while words and words[0] in getattr(command, "commands", {}):
        context = command.make_context(program, words[:1], parent=context)
        command = command.commands[words.pop(0)]
    context = command.make_context(command.name, words, parent=context)
    return context.command_path, context.params


def test_an_option_has_one_help_text_and_the_same_limits_wherever_there_is_one_of_its_name() -> None:
    known: dict[str, tuple[tuple, str]] = {}
    for name, command in commands():
        for option in command.params:
            for word in (word for word in option.opts if word.startswith("--")):
                own = option.help, option.is_flag, option.multiple, getattr(option, "min", None), getattr(option, "max", None)
                other, where = known.setdefault(word, (own, name))
                assert own == other, f"{word} of {name} and of {where}"
    assert {"--dataset", "--recipe", "--seeds", "--within", "--device", "--runs", "--out", "--data", "--offline"} <= set(known)
    assert not set(known) & {f"--{word}" for word in OLD_WORDS}


@pytest.mark.parametrize("line", BEFORE)
def test_a_command_of_before_is_understood(line: str) -> None:
    parsed(line)


def test_a_word_that_never_was_is_not_understood() -> None:
    with pytest.raises(Exception, match="--nosuch"):
        parsed("speedcore train --nosuch")


@pytest.mark.parametrize(("before", "today"), [
    ("speedcore train --policy dawnbench", "speedcore train --clock dawnbench"),
    ("speedcore plan --datasets a,b", "speedcore plan --dataset a,b"),
    ("speedcore train --datasets a", "speedcore train --dataset a"),
    ("speedcore precompute --into x", "speedcore precompute --out x"),
    ("explain.studies shortcuts --arms=with", "explain.studies shortcuts --arm with"),
    ("reports.build --datasets=shapes", "reports.build --dataset shapes")])
def test_an_old_word_says_what_todays_does(before: str, today: str) -> None:
    assert parsed(before) == parsed(today)


@pytest.mark.parametrize("name", PROGRAMS)
@pytest.mark.parametrize("word", ["-h", "--help", "--version"])
def test_each_program_says_what_it_is(name: str, word: str, capsys) -> None:
    import speedcore

    assert PROGRAMS[name].main([word], standalone_mode=False) in (0, None)
    said = capsys.readouterr().out
    assert said == f"speedcore {speedcore.__version__}\n" if word == "--version" else "--version" in said
