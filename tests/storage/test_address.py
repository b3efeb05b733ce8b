"""Texts that become places, and those that must not."""

from __future__ import annotations

from pathlib import Path

import pytest

from varsr.errors import OutputError, RequestError
from varsr.storage.address import Remote, folder_below, place_of

HOSTILE = (
    "simplecache::file:///etc/hostname", "simplecache::s3://photos/a.png", "zip://a.png::s3://photos/a.zip",
    "zip://a.png", "memory://a.png", "ftp://example.org/a.png", "http://169.254.169.254/latest/meta-data/a.png",
    "http://example.org/a.png", "file://elsewhere/etc/hostname", "s3://user:secret@photos/a.png", "s3:///a.png",
    "https:///a.png", "https://example.org:port/a.png", "github://a:b@c/d.png", "s3://photos/a\nb.png",
    "FILE://elsewhere/a.png", "s3:////a.png", "local:///etc/hostname", "reference://x/a.png",
)  # fmt: skip


@pytest.mark.parametrize("text", HOSTILE)
def test_addresses_that_are_not_allowed(text: str) -> None:
    with pytest.raises(RequestError) as refused:
        place_of(text)
    assert "secret" not in f"{refused.value} {refused.value.advice}"
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    "text",
    ["/etc/hostname", "a.png", "file:///etc/hostname", "http://127.0.0.1/a.png", "http://localhost/a.png", *HOSTILE],
)
def test_a_fetched_list_names_addresses_of_storages_and_public_hosts_alone(text: str) -> None:
    with pytest.raises(RequestError):
        place_of(text, from_remote_list=True)


def test_keys_are_taken_as_they_are() -> None:
    for key in ("a b.png", "é/ü.png", "a#b.png", "a?b=c.png", "x/../y.png", "a//b.png", "100%25.png"):
        place = place_of(f"s3://photos/{key}")
        assert isinstance(place, Remote)
        assert (place.key, str(place)) == (key, f"s3://photos/{key}")
        assert place.name == key.rpartition("/")[2]


def test_queries_and_credentials_are_not_shown() -> None:
    place = place_of("https://user:secret@example.org/a%20b/photo.jpg?sig=secret&x=1#secret")
    assert isinstance(place, Remote)
    assert (place.suffix, place.name, place.stem) == (".jpg", "photo.jpg", "photo")
    assert "secret" not in f"{place} {place!r} {place.name}"
    assert (place.query, place.credentials) == ("sig=secret&x=1", "user:secret")
    assert place_of("https://example.org/%2e%2e%2f%2e%2e%2fetc%2fpasswd.jpg").name == ".._.._etc_passwd.jpg"


def test_local_places() -> None:
    assert place_of("a.png") == Path("a.png")
    assert place_of("file:///tmp/a%20b.png") == Path("/tmp/a b.png")
    assert place_of("odd:name.png") == Path("odd:name.png")


def test_folders_below() -> None:
    root, out = Remote("s3", "photos", "in"), Remote("gs", "large", "out")
    source = Remote("s3", "photos", "in/x/../y/a.png")
    assert str(folder_below(out, source, root)) == "gs://large/out/x/../y"
    with pytest.raises(OutputError):
        folder_below(Path("out"), source, root)
    assert folder_below(Path("out"), Remote("s3", "photos", "in/x/a.png"), root) == Path("out/x")
    for elsewhere in (Remote("s3", "photos", "inner/a.png"), Remote("s3", "other", "in/a.png"), Path("in/a.png")):
        with pytest.raises(ValueError, match="not below"):
            folder_below(out, elsewhere, root)
    assert folder_below(out, Path("in/x/a.png"), Path("in")) == out / "x"
