"""Messy documents: any meaning, written as people (and other tools) may write it."""

from __future__ import annotations

import json
from collections.abc import Callable
from random import Random
from typing import Any, NamedTuple

import pytest
from hypothesis import strategies as st

WORDS = ["description", "owner", "tags", "variants", "default", "log", "1", "true", "a b", "größe"]
TEXTS = [
    "x", "on", "no", "25%", "2027-03-01", "it's", 'say "hi"', "a: b", "c #d", "", " lead", "trail ",
    "- dash", "1.10", "null", "grün 🟢", "https://example.com/?a=b", "two\nlines", "end\n",
    "some longer words that can be folded", "{curly}", "[square]", "@example.com", "tab\there",
    "keep\n\n  inner\n", "* star", "& and", "50% of users, maybe",
]  # fmt: skip
SECTIONS = ["segments", "layers", "metrics", "flags"]


class Document(NamedTuple):
    """A text and what it means."""

    raw: bytes
    mapping: dict[str, Any]


class Scribe:
    """Writes values in every style that has the same meaning."""

    def __init__(self, random: Random) -> None:
        self.random = random
        self.lines: list[str] = []
        # a comment deeper than a block scalar's key would be text of the scalar
        self.limit: int | None = None
        # the header of a block scalar and the number of lines behind it, if it is the last
        self.open: tuple[int, int] = (0, 0)

    def chance(self, percent: int) -> bool:
        return self.random.randrange(100) < percent

    def value(self, depth: int = 0) -> Any:
        kind = self.random.randrange(12 if depth < 3 else 8)
        if kind < 4:
            return self.random.choice(TEXTS)
        if kind < 8:
            return self.random.choice([True, False, None, 0, 7, -3, 1.5, 100, 2.25])
        if kind < 10:
            return {key: self.value(depth + 1) for key in self.keys(0, 3)}
        return [self.value(depth + 1) for _ in range(self.random.randrange(4))]

    def keys(self, least: int, most: int) -> list[str]:
        return self.random.sample(WORDS, self.random.randint(least, most))

    def rule(self, name: str) -> dict[str, Any]:
        rule: dict[str, Any] = {"name": name}
        if self.chance(50):
            rule["when"] = {"plan": ["pro", "team"]}
        if self.chance(40):
            rule["share"] = self.random.choice(["5%", "10%"])
        if self.chance(30):
            rule["rollout"] = {"to": "on", "stages": ["1%", "5%"]}
            if self.chance(50):
                rule["rollout"]["stage"] = self.random.choice(["1%", "5%"])
        return rule

    def item(self) -> Any:
        if self.chance(10):
            return self.random.choice([None, {}])
        item = {key: self.value() for key in self.keys(1, 5)}
        if self.chance(60):
            count = self.random.randint(1, 4)
            item["rules"] = [self.rule(name) for name in ["r1", "r2", "r3", "r4"][:count]]
        if self.chance(15):
            item["killed"] = True
        return item

    def document(self) -> dict[str, Any]:
        mapping: dict[str, Any] = {"version": 1}
        if self.chance(30):
            mapping["recording"] = {"attributes": ["plan", "country"]}
        for section in SECTIONS:
            if self.chance(60):
                names = [f"{section[0]}_{number}" for number in range(self.random.randint(0, 4))]
                mapping[section] = {name: self.item() for name in names}
        return mapping

    # --- writing

    def text(self, mapping: dict[str, Any]) -> str:
        if self.chance(8):
            return json.dumps(mapping, indent=self.random.choice([None, 2]), ensure_ascii=False)
        if self.chance(30):
            self.lines += self.random.choice([["# head"], ["# head", ""], ["", "# a", "", "# b"]])
        if self.chance(10):
            self.lines.append("---")
        self.block_mapping(mapping, self.random.choice([0, 0, 0, 2]))
        if self.chance(25):
            self.noise(0)
        header, lines = self.open
        stripped = lines == len(self.lines) and " |-" in self.lines[header]
        if stripped and self.chance(60):
            # without a line feed at the end of the file both headers mean the same
            before, _, after = self.lines[header].rpartition(" |-")
            self.lines[header] = before + self.random.choice([" |-", " |"]) + after
            return "\n".join(self.lines)
        text = "\n".join(self.lines)
        return text if self.chance(15) and self.limit is None else text + "\n"

    def noise(self, column: int) -> None:
        """Blank lines and comments."""
        for _ in range(self.random.randrange(3)):
            if self.chance(50):
                self.lines.append(self.random.choice(["", "", "   "]) if self.limit is None else "")
                continue
            place = column + self.random.choice([0, 0, 0, 1, 3, -2])
            if self.limit is not None:
                place = min(place, self.limit)
            self.lines.append(" " * max(place, 0) + self.random.choice(["# note", "#", "# a: 1"]))

    def block_mapping(self, mapping: dict[str, Any], column: int, first: str = "") -> None:
        """`first` stands before the first key, on its line (a dash)."""
        for number, (key, value) in enumerate(mapping.items()):
            lead = first if number == 0 and first else " " * column
            if not (number == 0 and first) and self.chance(30):
                self.noise(column)
            self.entry(
                lead + self.key(key) + self.random.choice(["", "", " "]) + ":", value, column
            )

    def entry(self, head: str, value: Any, column: int) -> None:
        """A value behind `key:`."""
        self.limit = None
        nested = value and isinstance(value, dict | list)
        if nested and self.chance(65):
            self.lines.append(head + self.aside())
            if isinstance(value, dict):
                self.block_mapping(value, column + self.random.choice([1, 2, 2, 2, 4]))
            else:
                self.block_list(value, column + self.random.choice([0, 2, 2, 4]))
            return
        self.inline(head, value, column)

    def block_list(self, values: list[Any], column: int) -> None:
        for value in values:
            if self.chance(25):
                self.noise(column)
            self.limit = None
            dash = " " * column + "-"
            if value and isinstance(value, dict) and self.chance(60):
                gap = self.random.choice([1, 1, 1, 3])
                self.block_mapping(value, column + 1 + gap, dash + " " * gap)
            elif value and isinstance(value, list) and self.chance(30):
                self.lines.append(dash + self.aside())
                self.block_list(value, column + 2)
            else:
                self.inline(dash, value, column)

    def inline(self, head: str, value: Any, column: int) -> None:
        if value is None and self.chance(50):
            self.lines.append(head + self.aside())
            return
        if isinstance(value, str) and self.chance(40):
            lines = self.tall(value, column)
            if lines:
                header = len(self.lines)
                self.lines += [f"{head} {lines[0]}", *lines[1:]]
                self.open = (header, len(self.lines))
                return
        first, *others = self.flow(value, column + 2).split("\n")
        self.lines += [f"{head}{self.random.choice([' ', ' ', '  '])}{first}", *others]
        self.lines[-1] += self.aside()

    def aside(self) -> str:
        return self.random.choice(["", "", "", "  # aside", " #", "  "])

    def tall(self, value: str, column: int) -> list[str]:
        """A block scalar, or a folded quoted one; empty where the text does not allow it."""
        pad = " " * (column + self.random.choice([1, 2, 4]))
        body = value.removesuffix("\n")
        if self.chance(60):
            if not body or body[0] == " " or "\n" in body[-1:] or "\t" in body:
                return []
            self.limit = column
            header = "|" if value.endswith("\n") else "|-"
            lines = [pad + line if line else "" for line in body.split("\n")]
            return [header + self.random.choice(["", "  # why"]), *lines]
        words = value.split(" ")
        if len(words) < 3 or not all(word.isalpha() for word in words):
            return []
        if self.chance(50):
            return [f'"{words[0]}', *[pad + word for word in words[1:-1]], f'{pad}{words[-1]}"']
        return [words[0], *[pad + word for word in words[1:]]]

    def key(self, key: str) -> str:
        if key.isidentifier() and self.chance(80):
            return key
        return self.random.choice([json.dumps(key, ensure_ascii=False), f"'{key}'"])

    def flow(self, value: Any, column: int) -> str:
        if isinstance(value, dict | list):
            return self.flow_collection(value, column)
        if value is None:
            return self.random.choice(["null", "~", "Null"])
        if isinstance(value, bool):
            return self.random.choice(["true", "True"] if value else ["false", "FALSE"])
        if not isinstance(value, str):
            return repr(value)
        plain = value.replace("_", "").replace("%", "").isalnum() and value[0] not in "0123456789%"
        if plain and value not in ("null", "true") and self.chance(70):
            return value
        if value.isprintable() and self.chance(40):
            return "'" + value.replace("'", "''") + "'"
        return json.dumps(value, ensure_ascii=False)

    def flow_collection(self, value: Any, column: int) -> str:
        opening, closing = "{}" if isinstance(value, dict) else "[]"
        if isinstance(value, dict):
            parts = [
                f"{self.key(key)}: {self.flow(part, column + 2)}" for key, part in value.items()
            ]
        else:
            parts = [self.flow(part, column + 2) for part in value]
        pad = "\n" + " " * column
        if not parts:
            empty = ["", "", "", " ", "  ", pad, f"  # none{pad}"]
            return opening + self.random.choice(empty) + closing
        if self.chance(25):
            asides = [self.random.choice(["", "", "  # in flow"]) for _ in parts]
            last = self.random.choice(["", ","])
            commas = [","] * (len(parts) - 1) + [last]
            lines = [
                f"{pad}{part}{comma}{aside}"
                for part, comma, aside in zip(parts, commas, asides, strict=True)
            ]
            return opening + "".join(lines) + pad + closing
        space = self.random.choice(["", " "])
        return opening + space + self.random.choice([", ", ",  "]).join(parts) + space + closing


def write(seed: int) -> Document:
    """The messy document of a seed."""
    scribe = Scribe(Random(seed))
    mapping = scribe.document()
    text = scribe.text(mapping)
    if scribe.chance(15):
        text = text.replace("\n", "\r\n")
    if scribe.chance(10):
        text = "\ufeff" + text
    return Document(text.encode(), mapping)


@pytest.fixture(scope="session")
def messy() -> st.SearchStrategy[Document]:
    """Messy documents with their meaning."""
    return st.integers(0, 2**32).map(write)


@pytest.fixture(scope="session")
def another_value() -> Callable[[Any, Random], Any]:
    """`another_value(value, random)`: the value with a word changed, added, dropped or moved."""
    return _another


def _another(value: Any, random: Random) -> Any:
    scribe = Scribe(random)
    if isinstance(value, dict) and value and random.randrange(4):
        return _another_dict(value, random, scribe)
    if isinstance(value, list) and value and random.randrange(4):
        new = list(value)
        place = random.randrange(len(new))
        verb = random.randrange(4)
        if verb == 0:
            del new[place]
        elif verb == 1:
            new.insert(place, scribe.rule("fresh") if isinstance(new[0], dict) else "fresh")
        elif verb == 2:
            new[place] = _another(new[place], random)
        else:
            new.append(new.pop(place))
        return new
    return scribe.value()


def _another_dict(value: dict[str, Any], random: Random, scribe: Scribe) -> dict[str, Any]:
    new = dict(value)
    key = random.choice(list(new))
    verb = random.randrange(5)
    if verb == 0:
        del new[key]
    elif verb == 1:
        new["added"] = scribe.value()
    elif verb == 2:
        new = {"added": scribe.value(), **new}
    else:
        new[key] = _another(new[key], random)
    return new
