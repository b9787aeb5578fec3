"""Random operations: everything follows from the seed and the model's state."""

from __future__ import annotations

import copy
import random
from typing import Any

from tests.property.changing import Changes, Refused, appended, overlap, replaced
from tests.property.exact import Keys, Members, Number, State, Tree, dump, parse, pointer_of, render, written_twice
from tests.property.model import Operation, SessionModel

PLAIN_KEYS = ["a", "b", "memory", "messages", "step"]
NASTY_KEYS = [
    "", "a/b", "a~b", "a.b", "0", "1", "12", "01", "-1", "é", "e\u0301", "\0", "\ud800", "\udc00x", 'quote"',
    "back\\slash", "~", "/", "~1", "~0", "\\u0000", "\n", "\x1f", "\x7f", "\u2028", "😀", "日本", " ",
    "{}", "$", "__proto__", "%s", "'", "\u0001", "\u0001\u0003",
]  # fmt: skip
NUMBERS = [
    "0", "-0", "1", "-1", "1.0", "1.00", "1e23", "1E+2", "1e-7", "0.1", "12345678901234567890", "-1.5e-300",
    "1234567890123456789012345678901234567890", "179769313486231570000", "1e308", "0.30000000000000004",
    "-0.0",
]  # fmt: skip
STRINGS = [
    "", "x", "hi there", "\0", "\\u0000", "\ud83d", "\udc00", "😀", 'say "hi"', "C:\\dir", "a\nb\tc",
    "\x01\x7f", "\x01\x03", "été", "שלום", "{}", "[]", "[1]", "null", "null ", "1e999", "~0~1",
    "日本語" * 20, "y" * 300, "\\", '\\"',
]  # fmt: skip
IDS = ["a", "b", "c", "\0", "\ud800", "é", Number("1"), Number("1.0"), Number("-0"), "1", 'a"b', ""]
LABELS = ["first", "before the change", "ünï"]


class Generator:
    """Operations for one sequence."""

    def __init__(self, seed: int, lowest_number: int) -> None:
        self.random = random.Random(seed)
        self.lowest_number = lowest_number
        self.length = self.random.choice([4, 8, 12, 16, 24, 40])
        # Some sequences stay with few plain keys, so that addresses meet; some are all nasty.
        self.nasty = self.random.choice([0.05, 0.3, 0.7])
        self.keys = self.random.sample(PLAIN_KEYS, self.random.randint(2, 5))
        self.keys += self.random.sample(NASTY_KEYS, self.random.randint(0, 4))
        self.count = 0

    # -- operations --------------------------------------------------------------------------------------

    def operation(self, sessions: list[SessionModel], earlier: list[Operation]) -> Operation:
        """The next one."""
        chance = self.random.random
        on = self.random.randrange(len(sessions)) if chance() < 0.25 else 0
        model = sessions[on]
        keyed = [op for op in earlier if op.get("key") is not None]
        if keyed and chance() < 0.10:
            return dict(self.random.choice(keyed))
        if chance() < 0.62:
            return self._save(on, model, keyed)
        kind = self.random.choices(["messages", "revert", "label", "fork", "import", "prune"], [8, 7, 8, 2, 2, 5])[0]
        if kind == "messages":
            items = [self._message() for _ in range(self.random.choice([1, 1, 1, 2, 3]))]
            return {"do": kind, "on": on, "items": items, "key": self._key(keyed), "way": self._way()}
        if kind == "revert":
            return {"do": kind, "on": on, "number": self._number(model), "key": self._key(keyed)}
        if kind == "label":
            label = self.random.choice([*LABELS, None])
            return {"do": kind, "on": on, "number": self._number(model), "label": label}
        if kind == "prune":
            return {
                "do": kind,
                "keep": self.random.choice([1, 1, 2, 3, 5]),
                "batch": self.random.choice([1, 2, 100]),
            }
        if len(sessions) > 3:
            return self._save(on, model, keyed)
        if kind == "fork":
            return {"do": kind, "on": on, "number": self._number(model)}
        return {"do": "import", "on": on}

    def _save(self, on: int, model: SessionModel, keyed: list[Operation]) -> Operation:
        base = self._base(model)
        known = model.states.get(model.latest if base is None else base, model.state)
        op: Operation = {"do": "save", "on": on}
        if self.random.random() < 0.3:
            op["state"] = self.whole_state(known)
        else:
            # now and then made for what is there now rather than for the client's own copy
            op["changes"] = self.changes(known if self.random.random() < 0.9 else model.state)
        return {
            **op,
            "base": base,
            "key": self._key(keyed),
            "label": self.random.choice(LABELS) if self.random.random() < 0.08 else None,
            "on_conflict": self.random.choices(["merge", "reject", "overwrite"], [8, 1, 1])[0],
            "way": self._way(),
        }

    def _base(self, model: SessionModel) -> int | None:
        chance = self.random.random()
        if chance < 0.2:
            return None
        if chance < 0.5 or not model.kept:
            return model.latest
        if chance < 0.82:
            return self.random.choice(model.kept[-4:])
        if chance < 0.93:
            return self.random.choice(model.kept)
        return self.random.choice([0, max(0, model.latest - 5), model.latest + 1])

    def _number(self, model: SessionModel) -> int:
        if model.kept and self.random.random() < 0.9:
            return self.random.choice(model.kept)
        return self.random.randint(self.lowest_number, model.latest + 1)

    def _key(self, keyed: list[Operation]) -> str | None:
        chance = self.random.random()
        if keyed and chance < 0.03:
            return str(self.random.choice(keyed)["key"])
        if chance < 0.35:
            self.count += 1
            return f"key {self.count} é"
        return None

    def _way(self) -> int:
        return self.random.randrange(2)

    # -- content -----------------------------------------------------------------------------------------

    def _name(self) -> str:
        if self.random.random() < self.nasty:
            return self.random.choice(NASTY_KEYS)
        return self.random.choice(self.keys)

    def _message(self) -> str:
        content = self.random.choice(STRINGS)
        if self.random.random() < 0.7:
            return dump(Members([("role", self.random.choice(["user", "assistant"])), ("content", content)]))
        return dump(self.value(self.random.randint(0, 2)))

    def value(self, depth: int) -> Any:
        """A value with at most that many levels of containers."""
        kind = self.random.random()
        if depth > 0 and kind < 0.35:
            members = Members((self._name(), self.value(depth - 1)) for _ in range(self.random.choice([0, 1, 2, 3])))
            return members if self.random.random() < 0.1 else Members(dict(members).items())
        if depth > 0 and kind < 0.6:
            return [self.value(depth - 1) for _ in range(self.random.choice([0, 0, 1, 2, 4]))]
        if kind < 0.8:
            return Number(self.random.choice(NUMBERS))
        return self.random.choice([True, False, None, self.random.choice(STRINGS), self.random.choice(STRINGS)])

    def _container(self) -> Any:
        made = self.value(self.random.choice([1, 2, 3, 4]))
        return made if isinstance(made, list) else Members([(self._name(), made)])

    def whole_state(self, known: State) -> str:
        """The text of a state that a client may have made of the one it knows, or of a new one."""
        if self.random.random() < 0.12 or not known:
            names = self.random.sample([*self.keys, *NASTY_KEYS], self.random.randint(0, 6))
            return dump(Members((name, self.value(self.random.randint(0, 4))) for name in names))
        state = known
        for _ in range(self.random.choice([0, 1, 1, 2, 3, 5])):
            changes = self._some_changes(state)
            try:
                if not overlap(changes):
                    state = appended(replaced(state, changes, state), changes)
            except Refused:
                continue
        text = render(state)
        members = parse(text)
        self.random.shuffle(members)
        return dump(members)

    def changes(self, known: State) -> str:
        """Changes, as text, that a client may make to the state it knows; not all of them right."""
        changes = self._some_changes(known, conditional=True)
        sets = Members((pointer_of((keys, -1)), value) for keys, value in changes.sets)
        appends = Members((pointer_of((keys, -1)), [parse(b) for b in bodies]) for keys, bodies in changes.appends)
        content = Members(
            [
                ("set", sets),
                ("append", appends),
                ("remove", [pointer_of((k, -1)) for k in changes.removes]),
                ("add", Members((pointer_of((keys, -1)), value) for keys, value in changes.adds)),
                ("append_once", Members(map(_once, changes.onces))),
                ("expect", Members((pointer_of((keys, -1)), value) for keys, (value,) in changes.expects)),
                ("expect_absent", [pointer_of((k, -1)) for k in changes.absents]),
            ]
        )
        members = Members((name, inside) for name, inside in content if inside or self.random.random() < 0.1)
        text = dump(members)
        # a pointer that is none, or the whole state
        if self.random.random() < 0.02:
            wrong = self.random.choice(["a", "/~2", "/a~", "", " /a"])
            text = dump(Members([("set", Members([(wrong, self._container())]))]))
        if self.random.random() < 0.01:
            text = self.random.choice(
                ['{"remove":[""]}', '{"append":{"":[1]}}', '{"set":{"":{"a":[1]}}}', '{"set":{"":[]}}']
            )
        return text

    def _some_changes(self, known: State, *, conditional: bool = False) -> Changes:
        changes = Changes()
        for _ in range(self.random.choice([1, 1, 2, 3, 5])):
            trial = copy.deepcopy(changes)
            if conditional and self.random.random() < 0.25:
                self._add_condition(trial, known)
            else:
                self._add_change(trial, known)
            # an address written twice in "set" would be a key written twice
            twice = any(
                len({keys for keys, _ in places}) < len(places)
                for places in (trial.sets, trial.adds, [(keys, None) for keys, _, _ in trial.onces], trial.expects)
            )
            if not overlap(trial) or (not twice and self.random.random() < 0.03):
                changes = trial
        return changes

    def _add_condition(self, changes: Changes, known: State) -> None:
        keys, node = self._somewhere(known)
        inner = (*keys, self._name()) if isinstance(node, dict) else keys
        kind = self.random.choice(["add", "add", "once", "once", "expect", "absent"])
        if kind == "add":
            changes.adds.append((self.random.choice([inner, keys or inner]), self._once_written()))
        elif kind == "once":
            place = keys if isinstance(node, list) else inner
            name = self.random.choice(["id", "id", "id", "key/~", "\0"])
            items = [
                Members([(name, self.random.choice(IDS)), ("v", self.value(1))])
                for _ in range(self.random.choice([0, 1, 1, 2, 4]))
            ]
            changes.onces.append((place, name, [dump(item) for item in items]))
        elif kind == "expect" and self.random.random() < 0.8:
            item = self.random.randrange(len(node)) if isinstance(node, list) and node else None
            if item is not None and self.random.random() < 0.5:
                changes.expects.append(((*keys, str(item)), (parse(node[item]),)))
            else:
                changes.expects.append((keys, (parse(render(node)),)))
        elif kind == "expect":
            changes.expects.append((inner, (self._once_written(),)))
        elif self.random.random() < 0.8 or not keys:
            changes.absents.append((*keys, str(len(node))) if isinstance(node, list) else (*keys, "none such"))
        else:
            changes.absents.append(keys)

    def _once_written(self) -> Any:
        """A value in which no key stands twice."""
        while written_twice(value := self.value(self.random.choice([0, 0, 1, 2, 3])), 0):
            continue
        return value

    def _add_change(self, changes: Changes, known: State) -> None:
        keys, node = self._somewhere(known)
        chance = self.random.random()
        if isinstance(node, list) and chance < 0.75:
            self._change_list(changes, keys, node)
        elif isinstance(node, dict) and (chance < 0.6 or not keys):
            inner = (*keys, self._name())
            if self.random.random() < 0.15:
                _append(changes, inner, [dump(self.value(1))])
            else:
                changes.sets.append((inner, self.value(self.random.choice([0, 0, 1, 2, 3]))))
        elif chance < 0.70:
            changes.removes.append(keys)
        elif chance < 0.96:
            value = self._container() if self.random.random() < 0.3 else self.value(self.random.choice([0, 0, 1, 3]))
            changes.sets.append((keys, value))
        else:
            # below a part, or where nothing is
            deeper = (*keys, self._name(), self._name())[: self.random.choice([len(keys) + 1, len(keys) + 2])]
            kind = self.random.randrange(3)
            if kind == 0:
                changes.sets.append((deeper, self.value(0)))
            elif kind == 1:
                changes.removes.append(deeper)
            else:
                _append(changes, deeper, [dump(self.value(0))])

    def _change_list(self, changes: Changes, keys: Keys, items: list[str]) -> None:
        chance = self.random.random()
        count = len(items)
        if chance < 0.45:
            bodies = [
                dump(self.value(self.random.choice([0, 1, 2]))) for _ in range(self.random.choice([1, 1, 2, 3]))
            ]
            _append(changes, keys, bodies)
        elif chance < 0.65 and count:
            changes.sets.append(
                ((*keys, str(self.random.randrange(count))), self.value(self.random.choice([0, 1, 2])))
            )
        elif chance < 0.75:
            for position in range(count, count + self.random.choice([1, 1, 2])):
                changes.sets.append(((*keys, str(position)), self.value(1)))
        elif chance < 0.93 and count:
            cut = self.random.randint(1, min(count, 3))
            changes.removes += [(*keys, str(position)) for position in range(count - cut, count)]
        else:
            wrong = self.random.choice([str(count + 1), "-", "01", "0", "x", "1000000000", str(count)])
            if self.random.random() < 0.5:
                changes.removes.append((*keys, wrong))
            else:
                changes.sets.append(((*keys, wrong), self.value(0)))

    def _somewhere(self, known: State) -> tuple[Keys, Tree]:
        node: Tree = known
        keys: Keys = ()
        while isinstance(node, dict) and node and self.random.random() < 0.75:
            key = self.random.choice(list(node))
            node, keys = node[key], (*keys, key)
        return keys, node


def _once(once: tuple[Keys, str, list[str]]) -> tuple[str, Members]:
    keys, name, bodies = once
    return pointer_of((keys, -1)), Members([("by", name), ("items", [parse(body) for body in bodies])])


def _append(changes: Changes, keys: Keys, bodies: list[str]) -> None:
    # a list written twice in "append" would be a key written twice
    if keys not in [others for others, _ in changes.appends]:
        changes.appends.append((keys, bodies))
