NAMES: tuple[str, ...]
EVENTS: tuple[str, ...]

def transitions() -> dict[tuple[str, str], str]: ...
