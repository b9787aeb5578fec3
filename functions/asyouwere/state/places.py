"""Finding the container that an address is in, and making it where nothing is."""

from __future__ import annotations

from typing import TypeAlias, cast

from asyouwere.errors import Invalid
from asyouwere.state.addresses import OPENED_DEPTH, address_data, depth_of, is_index, last_key
from asyouwere.state.tree import Tree

__all__ = ["Container", "below_part", "check_index", "container_of", "made_container"]

Container: TypeAlias = "dict[str, Tree] | list[str]"


def container_of(root: dict[str, Tree], path: str) -> Container | None:
    """The container that the path's last key is to be found in; None if there is none, but could be."""
    node: Container = root
    above = "/"
    for key in path[1:-1].split("/")[:-1]:
        above += key + "/"
        if isinstance(node, list):
            check_index(key, path)
            raise below_part(path, above)
        inner = node.get(key)
        if inner is None:
            return None
        if isinstance(inner, str):
            raise below_part(path, above)
        node = inner
    return node


def made_container(root: dict[str, Tree], path: str) -> Container:
    """The container that the path's last key is to be put into; missing objects on the way are made."""
    while (holder := container_of(root, path)) is None:
        keys, node, missing = path[1:-1].split("/"), root, "/"
        for key in keys[:-1]:
            missing += key + "/"
            if key not in node:
                break
            node = cast("dict[str, Tree]", node[key])
        if len(keys) > OPENED_DEPTH:
            raise below_part(path, f"/{'/'.join(keys[:OPENED_DEPTH])}/")
        if any(map(is_index, keys[depth_of(missing) :])):
            raise Invalid("missing_parent", data=address_data(path, parent=missing))
        node[last_key(missing)] = {}
    return holder


def check_index(key: str, path: str) -> None:
    if not is_index(key):
        raise Invalid(
            "invalid_address",
            "A list has items 0, 1, 2 and so on; this address names none.",
            data=address_data(path),
        )


def below_part(path: str, part: str) -> Invalid:
    return Invalid("address_below_part", data=address_data(path, part=part))
