"""Write the conformance vectors: ``python -m tests.conformance.generate``.

The inputs are fixed here and the expected answers come from this implementation; `runner.mjs`
recomputes every one of them without sharing a line. The files are frozen: a change of an expected
answer is a change of the algorithm and needs a new `algo`.
"""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

from controller.assignment.choice import Pin
from controller.assignment.conditions import compile_condition, unreadable_part
from controller.assignment.evaluate import evaluate
from controller.assignment.hashing import (
    BUCKETS,
    PPM,
    bucket,
    hash_unit,
    keyed_hash,
    threshold,
    valid_unit,
)
from controller.assignment.ruleset import Ruleset
from controller.assignment.runs import arm_of, build_runs, living, retire
from controller.assignment.xxh3 import pure_digest

HERE = Path(__file__).resolve().parent
Case = dict[str, Any]

UNITS = [
    "1", "42", "4711", "customer-1", "customer-2", " ", "a b", "A", "a", "é", "e\u0301", "日本語",
    "\U0001f600", "\U0001d7d9\U0001d7da", "ﬀ", "\u00a0", "\u200b", "x" * 1, "x" * 63, "x" * 64,
    "x" * 65, "x" * 255, "x" * 256, "é" * 128, "9007199254740991", "9007199254740993", "-1", "1.0",
    "null", "true", "{}", "<script>", "' OR 1=1 --", "../../etc/passwd", "%00", "\\u0000",
    "0123456789abcdef0123456789abcdef", "user@example.org", "00000000-0000-4000-8000-000000000000",
]  # fmt: skip
INVALID = [
    "", "\x00", "a\x00b", "\x1f", "a\x1fb", "\n", "a\tb", "\x7f", "\x80", "é\x9f", "x" * 257,
    "é" * 129, "\ud800", "a\udfffb", "\ude00\ud83d", 1, 0, -1, 1.5, True, False, None, [],
    ["1"], {},
]  # fmt: skip
SALTS = [("5e1f00d5a17", "departure"), ("a", "b"), ("ab", ""), ("", "ab"), ("sält", "künde")]
MODELS = {
    "champion": {"name": "m", "version": "3", "payload": {"threshold": 0.25}},
    "challenger": {"name": "m", "version": "4"},
    "challenger-2": {"name": "m", "version": "5", "uri": "models:/m/5"},
}
KILLED = {"name": "m", "version": "2"}


def hashes() -> list[Case]:
    cases: list[Case] = []
    for number, unit in enumerate(UNITS):
        for salt, unit_type in (SALTS[0], SALTS[1 + number % 4]):
            hi, lo = hash_unit(salt, unit_type, unit)
            cases.append(
                {"salt": salt, "unit_type": unit_type, "unit": unit, "hi": hi, "lo": lo,
                 "keyed": keyed_hash(salt, unit_type, unit)}
            )  # fmt: skip
    return cases


def validity() -> list[Case]:
    return [{"unit": unit, "valid": valid_unit(unit)} for unit in [*UNITS, *INVALID]]


def buckets() -> list[Case]:
    borders = [threshold(end, n) for n in (BUCKETS, PPM) for end in (1, 3333, 5000, 9999)]
    points = sorted({0, 1, 2**31 - 1, 2**31, 2**32 - 2, 2**32 - 1, *borders,
                     *(border - 1 for border in borders)})  # fmt: skip
    return [{"x": x, "n": n, "bucket": bucket(x, n)} for x in points for n in (BUCKETS, PPM)]


def runs() -> list[Case]:
    cases: list[Case] = []
    halves = build_runs({"champion": 1, "challenger": 1})
    thirds = build_runs({"champion": 1, "challenger": 1, "challenger-2": 1})
    tail = build_runs({"champion": 0.9999, "challenger": 0.0001})
    for made, retired in (
        (halves, ()),
        (halves, ((0, 1), (4999, 5001), (9999, 10_000))),
        (halves, ((0, 10_000),)),
        (thirds, retire(thirds, (), {"champion": 0.5, "challenger": 0.5})),
        (tail, ()),
        (build_runs({"champion": 1, "challenger": 0}), ()),
    ):
        whole = living(made, retired)
        marks = {0, 9999, *(end - 1 for end, _ in whole), *(end % BUCKETS for end, _ in whole)}
        cases += [
            {"runs": [list(run) for run in made], "retired": [list(part) for part in retired],
             "bucket": mark, "arm": arm_of(whole, mark)}
            for mark in sorted(marks)
        ]  # fmt: skip
    return cases


def leaf(op: str, value: Any, attribute: str = "x") -> Case:
    return {"attribute": attribute, "op": op, "value": value}


def conditions() -> list[Case]:
    values = [None, "", "a", "b", "EWR", "E", "é", "\uffee", "\U0001f600", 0, 1, 5, 4.5, -1, 1e15,
              2**53, 2**53 + 2, True, False, "5"]  # fmt: skip
    leaves = [
        leaf("eq", "a"), leaf("eq", 5), leaf("eq", True), leaf("ne", "a"), leaf("in", ["a", "EWR"]),
        leaf("in", [5, "a", True]), leaf("not_in", ["a"]), leaf("lt", 5), leaf("gte", 4.5),
        leaf("gt", "\uffee"), leaf("lte", "b"), leaf("prefix", "E"), leaf("prefix", ""),
        leaf("exists", True), leaf("exists", False),
    ]  # fmt: skip
    cases: list[Case] = [
        {"tree": tree, "attributes": {"x": value}} for tree in leaves for value in values
    ]
    cases += [{"tree": tree, "attributes": {}} for tree in leaves]
    x, y = leaf("eq", "a"), leaf("gt", 1, "y")
    trees: list[Case] = [
        {"and": [x, y]}, {"or": [x, y]}, {"not": x}, {"not": {"not": x}},
        {"and": [{"or": [x, y]}, {"not": {"and": [x, y]}}]}, {"or": [x, {"and": [y, x]}]},
        {"and": [x]}, {"or": [leaf("exists", False), y]},
    ]  # fmt: skip
    sides: list[Case] = [{}, {"x": "a"}, {"x": "b"}, {"y": 2}, {"y": 0}, {"x": "a", "y": 2},
                         {"x": "b", "y": 2}, {"x": "a", "y": 0}, {"x": 1, "y": "2"}]  # fmt: skip
    cases += [{"tree": tree, "attributes": side} for tree in trees for side in sides]
    broken: list[Case] = [
        leaf("semver", "1.0"), {"xor": [x]}, {"and": []}, {"and": [x, leaf("like", "a")]},
        leaf("eq", None), leaf("lt", True), leaf("in", []), {}, {"not": {"or": [x, {"maybe": y}]}},
        leaf("prefix", 5), leaf("exists", 1), leaf("in", ["a", None]), leaf("eq", 2**53 + 2),
    ]  # fmt: skip
    cases += [{"tree": tree, "attributes": {"x": "a", "y": 2}} for tree in broken]
    for case in cases:
        if unreadable_part(case["tree"]):
            case["result"], case["readable"] = False, False
        else:
            case["result"] = compile_condition(case["tree"])(case["attributes"])
            case["readable"] = True
    return cases


def slot(rollout: Case | None = None, **more: Any) -> Case:
    return {
        "unit": "departure",
        "champion": MODELS["champion"],
        "observe": {"salt": "0b5e7e", "ppm": 200_000},
        **({"rollout": rollout} if rollout else {}),
        **more,
    }


def rollout(**changes: Any) -> Case:
    return {
        "id": "r-1", "attempt": 1, "allocation": 1, "algo": 1, "salt": "9f86d081884c7d65",
        "enrolled_ppm": 600_000, "runs": [[5000, "champion"], [10_000, "challenger"]],
        "arms": {arm: MODELS[arm] for arm in ("champion", "challenger")}, "sticky": "all",
        **changes,
    }  # fmt: skip


def whole(slots: Case, version: int = 7) -> Case:
    return {"schema": 1, "project": "default", "deployment": "d", "version": version,
            "event_schema": 1, "slots": slots}  # fmt: skip


def answer(document: Case, name: str, unit: Any, attributes: Any = None, pin: Any = None) -> Case:
    known = Pin(**pin) if pin else None
    choice = evaluate(Ruleset.from_document(document), name, unit, attributes, known)
    return {
        "arm": choice.arm,
        "reason": choice.reason.value,
        "model": choice.model and f"{choice.model.name} {choice.model.version}",
        "rollout": choice.rollout,
        "allocation": choice.allocation,
        "exposed": choice.exposed,
    }


def slots() -> Case:
    named = keyed_hash("f00d", "departure", "4711")
    tree = {"and": [leaf("in", ["EWR", "JFK"], "origin"), {"not": leaf("eq", "XX", "carrier")}]}
    thirds = [[3334, "champion"], [6667, "challenger"], [10_000, "challenger-2"]]
    return {
        "rest": slot(),
        "rest-unobserved": slot(observe=None),
        "plain": slot(rollout()),
        "nobody": slot(rollout(enrolled_ppm=0)),
        "everybody": slot(rollout(enrolled_ppm=PPM)),
        "one-in-a-million": slot(rollout(enrolled_ppm=1)),
        "three": slot(rollout(enrolled_ppm=PPM, runs=thirds, arms=MODELS)),
        "retired": slot(rollout(enrolled_ppm=PPM, retired=[[2000, 5000], [9000, 9500]])),
        "eligible": slot(rollout(enrolled_ppm=PPM, eligible=tree)),
        "aa": slot(rollout(enrolled_ppm=PPM, aa=True)),
        "override": slot(
            rollout(enrolled_ppm=0), overrides={"key": "f00d", "arms": {named: "challenger"}}
        ),
        "override-gone": slot(
            rollout(), overrides={"key": "f00d", "arms": {named: "challenger-9"}}
        ),
        "holdout": slot(
            rollout(enrolled_ppm=PPM),
            holdouts=[{"salt": "a1", "ppm": 300_000}, {"salt": "b2", "ppm": 200_000}],
        ),
        "layer": slot(
            rollout(enrolled_ppm=PPM),
            layer={"name": "l", "salt": "c3", "ranges": [[0, 2000], [7000, 9000]]},
        ),
        "killed": slot(rollout(enrolled_ppm=PPM), kill={"to": "previous", "model": KILLED}),
        "killed-at-rest": slot(kill={"to": "fallback", "model": KILLED}),
        "future-algo": slot(rollout(algo=3)),
        "short-runs": slot(rollout(runs=[[9999, "champion"]])),
        "unknown-operator": slot(rollout(enrolled_ppm=PPM, eligible=leaf("semver", "1", "origin"))),
        "future-key": slot(rollout(enrolled_ppm=PPM, colour="green"), shade=[1]),
        "everything": slot(
            rollout(enrolled_ppm=800_000, eligible=tree, retired=[[0, 500]]),
            overrides={"key": "f00d", "arms": {named: "challenger"}},
            holdouts=[{"salt": "a1", "ppm": 100_000}],
            layer={"name": "l", "salt": "c3", "ranges": [[0, 8000]]},
        ),
    }


def rulesets() -> Case:
    document = whole(slots())
    chance = random.Random(20260601)
    cases: list[Case] = []
    for name in [*slots(), "nowhere"]:
        picked = ["4711", "é", "\U0001f600", *(str(chance.randrange(10**6)) for _ in range(9))]
        for unit in [*picked, chance.choice(INVALID)]:
            attributes = chance.choice(
                [None, {}, {"origin": "EWR"}, {"origin": "EWR", "carrier": "UA"},
                 {"origin": "JFK", "carrier": "XX"}, {"origin": "LAX", "carrier": "UA"}]
            )  # fmt: skip
            expected = answer(document, name, unit, attributes)
            cases.append({"slot": name, "unit": unit, "attributes": attributes, **expected})
    return {"ruleset": document, "cases": cases}


def xxh3_messages() -> list[Case]:
    """Messages of every length class of XXH3, repeated text so that the file stays small."""
    cases: list[Case] = []
    for number, length in enumerate([*range(34), 63, 64, 65, 96, 97, 127, 128, 129, 143, 144,
                                     239, 240, 241, 255, 256, 257, 320, 383, 1023, 1024, 1025,
                                     2048, 3333]):  # fmt: skip
        message = chr(48 + number % 64)
        digest = pure_digest((message * length).encode())
        cases.append({"message": message, "times": length, "digest": digest.hex()})
    for text, times in (("é\U0001f600", 7), ("customer-", 13), ("0123456789abcdef\x1f", 20)):
        digest = pure_digest((text * times).encode())
        cases.append({"message": text, "times": times, "digest": digest.hex()})
    return cases


def algorithms() -> Case:
    """Slots whose rollouts split with algorithm 2; gates and rest keep SHA-256."""
    changes: Case = {"algo": 2, "enrolled_ppm": PPM}
    named = keyed_hash("f00d", "departure", "4711")
    gated = slot(
        rollout(**changes),
        overrides={"key": "f00d", "arms": {named: "challenger"}},
        holdouts=[{"salt": "a1", "ppm": 300_000}],
        layer={"name": "l", "salt": "c3", "ranges": [[0, 6000]]},
    )
    document = whole({
        "split": slot(rollout(**changes)),
        "part": slot(rollout(algo=2, enrolled_ppm=250_000)),
        "retired": slot(rollout(**changes, retired=[[2000, 6000]])),
        "eligible": slot(rollout(**changes, eligible=leaf("eq", "EWR", "origin"))),
        "gated": gated,
        "unknown": slot(rollout(algo=0)),
        "sha-256": slot(rollout(enrolled_ppm=PPM)),
    })  # fmt: skip
    cases: list[Case] = []
    for name in document["slots"]:
        for number, unit in enumerate([*UNITS, "", "a\x1fb", "\ud800"]):
            attributes = {"origin": "EWR"} if number % 2 else None
            expected = answer(document, name, unit, attributes)
            cases.append({"slot": name, "unit": unit, "attributes": attributes, **expected})
    return {"ruleset": document, "cases": cases}


def ramps() -> list[Case]:
    steps = [0, 10_000, 100_000, 500_000, 1_000_000, 250_000, 0, 1_000_000]
    documents = [
        whole({"s": slot(rollout(enrolled_ppm=ppm))}, 7 + n) for n, ppm in enumerate(steps)
    ]
    edited = rollout(enrolled_ppm=PPM, allocation=2, retired=[[2000, 5000]])
    documents.append(whole({"s": slot(edited)}, 99))
    return [
        {"unit": f"unit-{number}", "rulesets": documents if number == 0 else None,
         "arms": [answer(document, "s", f"unit-{number}")["arm"] for document in documents],
         "reasons": [answer(document, "s", f"unit-{number}")["reason"] for document in documents]}
        for number in range(40)
    ]  # fmt: skip


def pins() -> Case:
    tree = leaf("eq", "yes", "x")
    document = whole({
        "s": slot(rollout(enrolled_ppm=500_000)),
        "closed": slot(rollout(enrolled_ppm=500_000, eligible=tree)),
        "held": slot(rollout(), holdouts=[{"salt": "h", "ppm": PPM}]),
        "killed": slot(rollout(), kill={"to": "champion", "model": MODELS["champion"]}),
        "rest": slot(),
    })  # fmt: skip
    cases: list[Case] = []
    for name in document["slots"]:
        for allocation in (1, 2):
            for arm in ("champion", "challenger", "challenger-9"):
                for place in (0, 499_999, 500_000):
                    pin = {"allocation": allocation, "arm": arm, "bucket": place}
                    unit = f"unit-{len(cases)}"
                    expected = answer(document, name, unit, None, pin)
                    cases.append({"slot": name, "unit": unit, "pin": pin, **expected})
    return {"ruleset": document, "cases": cases}


def vectors() -> dict[str, Any]:
    """Every file's content by name."""
    return {
        "hash": hashes(),
        "unit": validity(),
        "bucket": buckets(),
        "runs": runs(),
        "condition": conditions(),
        "ruleset": rulesets(),
        "ramp": ramps(),
        "pin": pins(),
        "xxh3": xxh3_messages(),
        "algo": algorithms(),
    }


def cases(content: Any) -> list[Case]:
    """The cases of one file."""
    found: list[Case] = content["cases"] if isinstance(content, dict) else content
    return found


def text(content: Any) -> str:
    """One case a line, ASCII only, so that a change is seen line by line."""
    lines = ",\n".join(json.dumps(case, sort_keys=True) for case in cases(content))
    if isinstance(content, dict):
        head = json.dumps(content["ruleset"], sort_keys=True)
        return f'{{"ruleset": {head},\n"cases": [\n{lines}\n]}}\n'
    return f"[\n{lines}\n]\n"


if __name__ == "__main__":
    for file_name, file_content in vectors().items():
        path = HERE / "vectors" / f"{file_name}.json"
        path.parent.mkdir(exist_ok=True)
        path.write_text(text(file_content))
        print(f"{path.name}: {len(cases(file_content))}")
