"""XMP packets: what they say of parts of a file that its result does not have is taken out."""

from __future__ import annotations

import re

_GONE = (
    "http://ns.adobe.com/hdr-gain-map/1.0/",
    "http://ns.apple.com/HDRGainMap/1.0/",
    "http://ns.google.com/photos/1.0/container/",
    "http://ns.google.com/photos/1.0/container/item/",
    "http://ns.google.com/photos/1.0/camera/",
    "http://ns.google.com/photos/1.0/depthmap/",
    "http://ns.google.com/photos/1.0/image/",
    "http://ns.google.com/photos/1.0/audio/",
    "http://ns.google.com/photos/dd/1.0/",
)
"""Namespaces of gain maps, motion photos, depth maps and their like: all describe what stands behind the image."""
_STALE = {
    "http://ns.adobe.com/tiff/1.0/": ("Orientation", "ImageWidth", "ImageLength"),
    "http://ns.adobe.com/exif/1.0/": ("PixelXDimension", "PixelYDimension"),
    "http://ns.adobe.com/xmp/note/": ("HasExtendedXMP",),
}
"""Properties that are no longer true of an image that is upright and larger, and that has one packet."""

_ORIENTATION = re.compile(r"""(\btiff:Orientation\s*(?:>|=)\s*["']?)[2-8]""")


def corrected(packet: bytes | None) -> bytes | None:
    """The packet without properties that its image no longer has. Bytes that are not UTF-8 stay as they are."""
    if packet is None:
        return None
    text = packet.decode("utf-8", "surrogateescape")
    for namespace in _GONE:
        for prefix in _prefixes(text, namespace):
            text = _without(text, prefix, r"[\w.-]+")
    for namespace, names in _STALE.items():
        for prefix in _prefixes(text, namespace):
            text = _without(text, prefix, "|".join(names))
    text = _ORIENTATION.sub(r"\g<1>1", text)  # where the packet is damaged, readers find it all the same
    return text.encode("utf-8", "surrogateescape")


def _prefixes(text: str, namespace: str) -> set[str]:
    return set(re.findall(rf"""xmlns:([\w.-]+)\s*=\s*["']{re.escape(namespace)}["']""", text))


def _without(text: str, prefix: str, names: str) -> str:
    """Without the elements and the attributes of these names, and what is in them."""
    name = rf"{re.escape(prefix)}:(?:{names})"
    text = re.sub(rf"<({name})(?:\s[^<>]*)?(?<!/)>.*?</\1\s*>", "", text, flags=re.DOTALL)
    text = re.sub(rf"<{name}(?:\s[^<>]*)?/>", "", text)
    return re.sub(rf"""\s{name}\s*=\s*(?:"[^"]*"|'[^']*')""", "", text)
