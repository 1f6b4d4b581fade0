"""How parts of a time to first token look and what they are called: a part has one colour in every picture and table."""

from __future__ import annotations

from zcube.report.palette import BLUE, GREEN, ORANGE, PURPLE, SKY, VERMILLION

#: Colour, hatch and name. Grey: nothing to do with the network or its memory; the rest are those of Okabe and Ito.
LOOKS = {
    "queue": ("#BDBDBD", "", "queue"),
    "decode_room": (SKY, "", "decode room"),
    "kv_memory": (BLUE, "", "KV memory"),
    "blocked": (PURPLE, "", "blocked by pushes"),
    "cache_read": (SKY, "....", "cache read"),
    "prefill": ("#5F5F5F", "", "prefill"),
    "setup": ("#F0E442", "", "transfer set-up"),
    "transfer": (GREEN, "", "transfer alone"),
    "type1": (ORANGE, "", "type 1: own NICs"),
    "type2": (VERMILLION, "", "type 2: fabric"),
    "convert": (PURPLE, "xxxx", "conversion at decode"),
    "inject": (GREEN, "\\\\\\\\", "copies at decode"),
    "admission": ("#E8E8E8", "////", "decode admission"),
}
#: Of parts that have no look of their own, in their order.
_FURTHER = ((ORANGE, "----"), (BLUE, "++++"), (VERMILLION, "oooo"))


def looks_of(parts: list[str]) -> dict[str, tuple[str, str, str]]:
    """Return colour, hatch and name of parts."""
    further = [part for part in parts if part not in LOOKS]
    return {part: LOOKS.get(part) or (*_FURTHER[further.index(part) % len(_FURTHER)], part.replace("_", " ")) for part in parts}


def parts_shown(by_fabric: list[dict[str, float | None]]) -> list[str]:
    """Return the parts, in their order, that take any time in some of several compositions."""
    return [part for part in by_fabric[0] if any(abs(one[part] or 0.0) > 1e-9 for one in by_fabric)]
