"""What Vega drew, made ready for a page: labels find room, colours are the page's, what a mark tells is its title."""

from __future__ import annotations

import re
from typing import Any
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

from secateur.reporting.labels import Box, along, beside, boxes, placed

SVG = "http://www.w3.org/2000/svg"

LABELS = ("foremost", "level", "others")
"""Layers of labels in the order in which room is found for them: each at its mark, `level` at its line across."""

STAIRS = "stairs"
"""The layer of which a label may hide a part where there is no other room."""

LINE_HEIGHT, DEPTH = 1.2, 0.25
"""Of a label, and what of that is below its base line, in font sizes."""


def polished(svg: str, told: str, room: Box) -> str:
    """The drawing as one image to a screen reader, which hears `told`; each mark keeps its text as `<title>`.

    Labels go where there is room for them, those that have none are left out.
    """
    ElementTree.register_namespace("", SVG)
    root = ElementTree.fromstring(svg)
    _place_labels(_layers(root), room)
    _remove_hidden(root)
    for element in root.iter():
        _plain(element)
    view = root.attrib["viewBox"]
    root.attrib.clear()
    root.attrib.update({"class": "chart", "viewBox": view, "role": "img", "aria-label": told})
    return ElementTree.tostring(root, encoding="unicode")


def widths(layer: str) -> dict[str, Any]:
    """A mark for Vega, which writes the width of each label of the layer; what is polished has it no more."""
    return {
        "name": f"{layer}_widths",
        "type": "text",
        "clip": True,
        "from": {"data": f"{layer}_marks"},
        "encode": {"enter": {"text": {"signal": "datum.bounds.x2 - datum.bounds.x1"}, "fontSize": {"value": 1}}},
    }


def _layers(root: Element) -> dict[str, Element]:
    """Groups of marks by the names that they were given."""
    groups = [(group.get("class", "").split(), group) for group in root.iter(f"{{{SVG}}}g")]
    return {names[-1].removesuffix("_marks"): group for names, group in groups if "role-mark" in names}


def _place_labels(layers: dict[str, Element], room: Box) -> None:
    symbols = [_symbol(mark) for layer in layers.values() if "mark-symbol" in layer.get("class", "") for mark in layer]
    lines = [box for name, layer in layers.items() if name != STAIRS for mark in layer for box in _line(mark)]
    crossed = [box for mark in layers.get(STAIRS, ()) for box in _line(mark)]
    labels, wanted = list[Element](), list[list[Box]]()
    for name in LABELS:
        for label, width in zip(layers.get(name, ()), layers.get(f"{name}_widths", ()), strict=True):
            labels.append(label)
            size = float(width.text or 0), LINE_HEIGHT * _font_size(label)
            x, y = _origin(label)
            if name == "level":
                wanted.append(along(y, room, size))
            else:
                mark = max(_at(x, y, symbols), key=lambda box: box.right - box.left)
                wanted.append(beside(mark, symbols, _at(x, y, lines), size))
    for label, place in zip(labels, placed(wanted, [*symbols, *lines], crossed, room), strict=True):
        if place is None:
            label.text = ""
        else:
            label.set("transform", f"translate({place.left},{place.bottom - DEPTH * _font_size(label)})")


def _at(x: float, y: float, found: list[Box]) -> list[Box]:
    return [box for box in found if box.grown(0.1).holds(x, y)]


def _symbol(mark: Element) -> Box:
    x, y = _origin(mark)
    reach = max(map(abs, _numbers(mark.get("d", "")))) + float(mark.get("stroke-width", 0)) / 2
    return Box(x, y, x, y).grown(reach)


def _line(mark: Element) -> list[Box]:
    """Of a rule or a line, which are as thin as can be; none of other marks."""
    if mark.get("aria-roledescription") == "rule mark":
        x, y = _origin(mark)
        return boxes([(x, y), (x + float(mark.get("x2", 0)), y + float(mark.get("y2", 0)))])
    if mark.get("aria-roledescription") == "line mark":
        path = _numbers(mark.get("d", ""))
        return boxes(list(zip(path[::2], path[1::2], strict=True)))
    return []


def _origin(mark: Element) -> tuple[float, float]:
    x, y = _numbers(mark.get("transform", ""))
    return x, y


def _font_size(label: Element) -> float:
    return float(label.get("font-size", "").removesuffix("px"))


def _numbers(text: str) -> list[float]:
    return [float(number) for number in re.findall(r"-?\d+(?:\.\d+)?(?:e-?\d+)?", text)]


def _remove_hidden(root: Element) -> None:
    """Labels without room, what was measured, and what clips them, whose names would be those of other charts too."""
    for parent in list(root.iter()):
        parent.attrib.pop("clip-path", None)
        for child in [child for child in parent if _is_hidden(child)]:
            parent.remove(child)


def _is_hidden(element: Element) -> bool:
    if element.tag == f"{{{SVG}}}text":
        return element.get("opacity") == "0" or not element.text
    return element.tag == f"{{{SVG}}}defs" or element.get("class", "").endswith("_widths")


def _plain(element: Element) -> None:
    """Colours as style, which takes CSS variables everywhere; coordinates with one decimal."""
    label = element.get("aria-label")
    if label and element.get("aria-roledescription") in ("point", "bar"):
        title = ElementTree.Element(f"{{{SVG}}}title")
        title.text = label
        element.insert(0, title)
    colours = [f"{name}:{element.get(name)}" for name in ("fill", "stroke") if "var(" in element.get(name, "")]
    dropped = {"role", "class", "font-family", "pointer-events"}
    for name in list(element.attrib):
        value = element.attrib[name]
        if name.startswith("aria-") or name in dropped or "var(" in value:
            del element.attrib[name]
        elif name in ("d", "transform", "x2", "y2"):
            element.set(name, re.sub(r"\d+\.\d+", lambda number: f"{float(number[0]):.1f}".removesuffix(".0"), value))
    if colours:
        element.set("style", ";".join(colours))
