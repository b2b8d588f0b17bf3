"""Runs a target under atheris: `python -m tests.fuzz.run tests.fuzz.frames build/fuzz -runs=1000`.

Behind the target's module and a folder come options of libFuzzer.
Inputs that reach something new are kept in a folder of that folder, one that fails is written beside it, and the
process ends with a code that is not 0.
"""

from __future__ import annotations

import hashlib
import sys
from importlib import import_module
from pathlib import Path
from typing import cast

import atheris

from tests.fuzz.targets import Target

LONGEST_INPUT = 4096
SECONDS_FOR_AN_INPUT = 10
MOST_MEGABYTES = 1024


def load(name: str) -> Target:
    """The module of a target, with Hubbub's own code counted branch by branch."""
    with atheris.instrument_imports(include=["hubbub"]):
        return cast(Target, import_module(name))


def prepare(target: Target, corpus: Path, dictionary: Path) -> None:
    """Writes what the target begins with; inputs are named by their content, so that none is there twice."""
    corpus.mkdir(parents=True, exist_ok=True)
    for seed in target.seeds():
        (corpus / hashlib.sha1(seed, usedforsecurity=False).hexdigest()).write_bytes(seed)
    dictionary.write_text("".join(f'"{escape(word)}"\n' for word in dict.fromkeys(target.words())))


def escape(word: bytes) -> str:
    """As a dictionary of libFuzzer has it."""
    return "".join(f"\\x{byte:02x}" for byte in word)


def main(name: str, folder: Path, options: list[str]) -> None:
    """Tries inputs until a limit among the options is reached or one fails; does not return."""
    target = load(name)
    short = name.rpartition(".")[2]
    corpus, dictionary = folder / short, folder / f"{short}.dict"
    prepare(target, corpus, dictionary)
    limits = [f"-max_len={LONGEST_INPUT}", f"-timeout={SECONDS_FOR_AN_INPUT}", f"-rss_limit_mb={MOST_MEGABYTES}"]
    files = [f"-dict={dictionary}", f"-artifact_prefix={folder}/{short}-"]
    atheris.Setup([sys.argv[0], *limits, *files, *options, str(corpus)], target.target)
    atheris.Fuzz()


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), sys.argv[3:])
