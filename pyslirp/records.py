"""`dataclass`, `field` and `replace` as in the module dataclasses, for what is imported before a guest may come.

That module writes the source of a class's methods and compiles it, 0.3 to 0.5 ms a class, and imports inspect to do so.  At
the start there are fifty such classes, so here they get theirs from functions that all of them share.  What a class means is
the same, to type checkers too; `dataclasses.fields` and the others take it for one of theirs.

There are slots always, and not what nobody here needs: `order`, and fields that are not of `__init__`, `repr` or `==`.  An
instance takes 3 us to make instead of 1: none is made for each packet.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

__all__ = ["InitVar", "dataclass", "field", "replace"]

if TYPE_CHECKING:
    from dataclasses import InitVar, dataclass, field, replace
else:
    InitVar = None  # stands in annotations, which nobody evaluates
    _MISSING = object()

    class _Made:
        """The default of a field of which each instance has its own."""

        __slots__ = ("factory",)

        def __init__(self, factory):
            self.factory = factory

    def field(*, default_factory):
        """A default that is made for each instance."""
        return _Made(default_factory)

    def dataclass(*, slots, frozen=False, kw_only=False, eq=True):
        """As dataclasses.dataclass, for a class whose annotations are text (from __future__ import annotations)."""
        assert slots
        return lambda cls: _Plan(cls, kw_only, frozen).make(cls, eq)

    def replace(record, /, **changes):
        """A record with other values in some of its fields."""
        return type(record)(**{name: getattr(record, name) for name in record.__plan__.stored} | changes)

    class _Plan:
        """What a class is made by: its fields, those of its bases first."""

        def __init__(self, cls, kw_only, frozen):
            self.frozen = frozen
            self.shadow = None  # the same class as the module dataclasses makes it, once somebody wants to see it
            self.kinds = {}  # annotations
            self.defaults = {}
            self.keywords = set()  # fields that are given by name alone
            for base in reversed(cls.__mro__[1:]):
                if "__plan__" in base.__dict__:
                    inherited = base.__plan__
                    self.kinds |= inherited.kinds
                    self.defaults |= inherited.defaults
                    self.keywords |= inherited.keywords
            self.inherited = set(self.kinds)
            for name, kind in cls.__annotations__.items():
                if not kind.startswith("ClassVar"):
                    self.kinds[name] = kind
                    self.defaults[name] = cls.__dict__.get(name, _MISSING)
                    if kw_only:
                        self.keywords.add(name)
            self.positional = tuple(name for name in self.kinds if name not in self.keywords)
            self.passed = [at for at, kind in enumerate(self.kinds.values()) if kind.startswith("InitVar")]  # not kept
            self.changing = [name for name, default in self.defaults.items() if default is _MISSING or isinstance(default, _Made)]
            self.stored = tuple(name for at, name in enumerate(self.kinds) if at not in self.passed)

        def make(self, cls, eq):
            """The class that `cls` only describes."""
            own = [name for name in self.stored if name not in self.inherited]
            gone = {*self.stored, "__dict__", "__weakref__"}
            kept = {name: value for name, value in cls.__dict__.items() if name not in gone}
            methods = {"__repr__": _repr} | ({"__eq__": _eq, "__hash__": _hash if self.frozen else None} if eq else {})
            if self.frozen:
                methods |= {"__setattr__": _refuse, "__delattr__": _refuse, "__getstate__": _values, "__setstate__": _restore}
            plan = {"__plan__": self, "__slots__": tuple(own), "__match_args__": self.positional, **_SEEN}
            made = type(cls)(cls.__name__, cls.__bases__, methods | kept | plan)
            made.__qualname__ = cls.__qualname__
            made.__init__ = self.initializer(made)
            return made

        def initializer(self, made):
            """`__init__` of the class, which is quick where all fields are given in their order."""
            stores = [getattr(made, name).__set__ if name in self.stored else _forget for name in self.kinds]
            count = len(stores) if not self.keywords else -1
            complete, passed, checked = self.complete, self.passed, hasattr(made, "__post_init__")

            def initialize(self, /, *given, **named):
                if named or len(given) != count:
                    given = complete(made.__name__, given, named)
                for store, value in zip(stores, given, strict=False):
                    store(self, value)
                if checked:
                    self.__post_init__(*(given[at] for at in passed))

            return initialize

        def complete(self, cls, given, named):
            """A value for each field, in order; raises TypeError for what a call could not mean."""
            placed = dict(zip(self.positional, given, strict=False))
            if len(given) > len(placed):
                raise TypeError(f"{cls}() takes {len(placed)} positional arguments but {len(given)} were given")
            values = self.defaults | placed | named
            for name in named if len(values) > len(self.kinds) or placed.keys() & named else ():
                if name in placed or name not in self.kinds:
                    what = "multiple values for" if name in placed else "an unexpected keyword"
                    raise TypeError(f"{cls}() got {what} argument '{name}'")
            for name in self.changing:
                value = values[name]
                if value is _MISSING:
                    raise TypeError(f"{cls}() missing a required argument: '{name}'")
                if isinstance(value, _Made):
                    values[name] = value.factory()
            return list(values.values())

        def look(self, name):
            """The class as the module dataclasses makes it."""
            if self.shadow is None:
                import dataclasses  # noqa: PLC0415 - what takes long is only for who looks

                fields = []
                for at, (field_name, kind) in enumerate(self.kinds.items()):
                    default = self.defaults[field_name]
                    options = {"kw_only": field_name in self.keywords}
                    if isinstance(default, _Made):
                        options["default_factory"] = default.factory
                    elif default is not _MISSING:
                        options["default"] = default
                    seen = dataclasses.InitVar[kind] if at in self.passed else kind
                    fields.append((field_name, seen, dataclasses.field(**options)))
                self.shadow = dataclasses.make_dataclass(name, fields, frozen=self.frozen)
            return self.shadow

    class _Seen:
        """An attribute by which the functions of the module dataclasses know a class of theirs."""

        def __init__(self, name):
            self.name = name

        def __get__(self, _, owner):
            return getattr(owner.__plan__.look(owner.__name__), self.name)

    _SEEN = {name: _Seen(name) for name in ("__dataclass_fields__", "__dataclass_params__")}

    def _forget(*_):
        """What is only for __post_init__ is not kept."""

    def _values(self):
        return tuple([getattr(self, name) for name in self.__plan__.stored])

    def _restore(self, state):
        for name, value in zip(self.__plan__.stored, state, strict=True):
            object.__setattr__(self, name, value)

    def _repr(self):
        shown = (f"{name}={getattr(self, name)!r}" for name in self.__plan__.stored)
        return f"{type(self).__qualname__}({', '.join(shown)})"

    def _eq(self, other):
        return _values(self) == _values(other) if other.__class__ is self.__class__ else NotImplemented

    def _hash(self):
        return hash(_values(self))

    def _refuse(self, name, *values):
        """Neither assignment nor deletion."""
        from dataclasses import FrozenInstanceError  # noqa: PLC0415 - a mistake in a program may take its time

        raise FrozenInstanceError(f"cannot {'assign to' if values else 'delete'} field '{name}' of {type(self).__name__}")
