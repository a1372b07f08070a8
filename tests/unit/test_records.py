"""Records are dataclasses in all that shows: what is asserted here holds of the module dataclasses and of ours."""

from __future__ import annotations

import copy
import dataclasses
import pickle
from dataclasses import InitVar
from types import ModuleType
from typing import Any, ClassVar, Generic, TypeVar

import pytest

from pyslirp import records

Kind = TypeVar("Kind")


@records.dataclass(frozen=True, slots=True)
class Point:
    """At module level, where pickle finds it."""

    x: int
    y: int = 0


def defined(by: Any) -> dict[str, Any]:
    """Classes of every sort that is there."""

    @by.dataclass(frozen=True, slots=True)
    class Base:
        """Documented."""

        limit: ClassVar[int] = 7

        number: int
        name: str = "none"
        items: list[int] = by.field(default_factory=list)

        def __post_init__(self) -> None:
            if self.number > self.limit:
                raise ValueError(self.number)

        def __str__(self) -> str:
            return f"{self.name} {self.number}"

    @by.dataclass(frozen=True, slots=True)
    class Derived(Base):
        name: str = "derived"
        more: tuple[int, ...] = ()

    @by.dataclass(slots=True)
    class Mutable(Generic[Kind]):
        value: Kind
        note: str = ""

    @by.dataclass(slots=True, eq=False)
    class Thing:
        value: int

    @by.dataclass(frozen=True, slots=True, kw_only=True)
    class Named:
        first: int
        second: int = 2

    @by.dataclass(frozen=True, slots=True)
    class Checked:
        value: int
        least: InitVar[int] = 0  # type: ignore[assignment]

        def __post_init__(self, least: int) -> None:
            if self.value < least:
                raise ValueError(least)

    @by.dataclass(frozen=True, slots=True)
    class Empty:
        pass

    return {made.__name__: made for made in (Base, Derived, Mutable, Thing, Named, Checked, Empty)}


@pytest.fixture(params=[dataclasses, records], ids=["dataclasses", "records"])
def made(request: pytest.FixtureRequest) -> dict[str, Any]:
    return defined(request.param)


def test_fields_have_their_order_and_defaults(made: dict[str, Any]) -> None:
    base = made["Base"](3)
    assert (base.number, base.name, base.items, base.limit) == (3, "none", [], 7)
    assert made["Base"](3).items is not base.items
    derived = made["Derived"](1, more=(2,))
    assert (derived.number, derived.name, derived.items, derived.more) == (1, "derived", [], (2,))
    assert made["Derived"].__match_args__ == ("number", "name", "items", "more")
    assert made["Named"].__match_args__ == ()
    assert made["Named"](first=1).second == 2
    assert made["Mutable"](5, "five").note == "five"
    assert made["Mutable"][int](5).value == 5
    assert made["Empty"]() == made["Empty"]()


@pytest.mark.parametrize(
    ("name", "given", "named"),
    [
        ("Base", (), {}),
        ("Base", (1, "a", [], 4), {}),
        ("Base", (1,), {"number": 1}),
        ("Base", (1,), {"nmae": "a"}),
        ("Base", (1,), {"limit": 8}),
        ("Derived", (), {"more": ()}),
        ("Named", (1,), {}),
        ("Named", (), {}),
        ("Empty", (1,), {}),
    ],
)
def test_what_no_call_can_mean_is_refused(
    made: dict[str, Any], name: str, given: tuple[Any, ...], named: dict[str, Any]
) -> None:
    with pytest.raises(TypeError, match=r"argument"):
        made[name](*given, **named)


def test_a_record_is_checked_once_it_is_made(made: dict[str, Any]) -> None:
    for name, given in (("Base", (8,)), ("Derived", (8,)), ("Checked", (1, 2))):
        with pytest.raises(ValueError, match=r"[28]"):
            made[name](*given)
    assert made["Checked"](3, 2) == made["Checked"](3) == made["Checked"](3, least=1)
    assert not hasattr(made["Checked"](3, 2), "__dict__")


def test_equal_is_what_has_the_class_and_the_values(made: dict[str, Any]) -> None:
    assert made["Base"](1, "a", [2]) == made["Base"](1, "a", [2]) != made["Base"](1, "a", [3])
    assert made["Derived"](1, "a") != made["Base"](1, "a")
    assert made["Thing"](1) != made["Thing"](1)
    assert hash(made["Named"](first=1)) == hash(made["Named"](first=1, second=2))
    assert len({made["Thing"](1), made["Thing"](1)}) == 2
    with pytest.raises(TypeError, match="unhashable"):
        hash(made["Mutable"](1))


def test_text_and_documentation(made: dict[str, Any]) -> None:
    inside = "defined.<locals>."
    assert repr(made["Derived"](1, "a", [2])) == f"{inside}Derived(number=1, name='a', items=[2], more=())"
    assert repr(made["Checked"](3)) == f"{inside}Checked(value=3)"
    assert repr(made["Empty"]()) == f"{inside}Empty()"
    assert str(made["Derived"](1, "a")) == "a 1"
    assert made["Base"].__doc__ == "Documented."


def test_what_is_frozen_stays(made: dict[str, Any]) -> None:
    base = made["Base"](1)
    with pytest.raises(dataclasses.FrozenInstanceError):
        base.number = 2
    with pytest.raises(dataclasses.FrozenInstanceError):
        del base.number
    mutable = made["Mutable"](1)
    mutable.value = 2
    assert mutable.value == 2
    with pytest.raises(AttributeError):
        mutable.other = 2
    with pytest.raises(AttributeError):
        base.__dict__  # noqa: B018 - is it there?


@pytest.mark.parametrize("by", [dataclasses, records], ids=["dataclasses", "records"])
def test_it_is_replaced_by_either_module(made: dict[str, Any], by: ModuleType) -> None:
    if hasattr(made["Base"], "__plan__") or by is dataclasses:
        assert by.replace(made["Derived"](1, "a", [2]), name="b") == made["Derived"](1, "b", [2])
        assert by.replace(made["Checked"](3), value=4) == made["Checked"](4)
        assert by.replace(made["Named"](first=1), second=3).second == 3
        with pytest.raises(ValueError, match="8"):
            by.replace(made["Base"](1), number=8)


def test_the_module_dataclasses_knows_it(made: dict[str, Any]) -> None:
    kind: Any = made["Derived"]
    derived = kind(1, "a", [2], (3,))
    assert [dataclasses.is_dataclass(one) for one in (kind, derived)] == [True, True]
    assert [one.name for one in dataclasses.fields(derived)] == ["number", "name", "items", "more"]
    assert [one.default for one in dataclasses.fields(made["Named"])] == [dataclasses.MISSING, 2]
    assert dataclasses.asdict(derived) == {"number": 1, "name": "a", "items": [2], "more": (3,)}
    assert [one.name for one in dataclasses.fields(made["Checked"])] == ["value"]

    @dataclasses.dataclass(frozen=True)
    class Further(kind):  # type: ignore[misc]
        last: int = 9

    assert Further(1).last == 9
    assert Further(1, "a").name == "a"


def test_it_is_copied_and_pickled() -> None:
    point = Point(1, 2)
    for other in (copy.copy(point), copy.deepcopy(point), pickle.loads(pickle.dumps(point))):
        assert other == point
    mutable = defined(records)["Mutable"](1, "a")
    assert copy.copy(mutable) == mutable
    match point:
        case Point(x, y):
            assert (x, y) == (1, 2)
