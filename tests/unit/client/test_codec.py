"""The two ways to write a frame hold the same values."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tradewire.client.codec import Json, UnreadableFrame, codec_for

values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="utf-8")),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("abc"), inner, max_size=3),
    max_leaves=5,
)


@settings(deadline=None)
@given(st.dictionaries(st.text("xyz", min_size=1), values, max_size=5))
def test_what_is_written_is_read_back(value: Json) -> None:
    for codec in (codec_for("json"), codec_for("msgpack")):
        assert codec.decode(codec.encode(value)) == [value]


@pytest.mark.parametrize(
    "frame", [b"", b"\xc1", b"\x01", b"\x92\x80\x01", b"\x81\x90\x00", b"\xd9"]
)
def test_unreadable_msgpack_is_told_as_such(frame: bytes) -> None:
    with pytest.raises(UnreadableFrame):
        codec_for("msgpack").decode(frame)


@settings(deadline=None)
@given(st.binary(max_size=40))
def test_no_bytes_do_more_than_being_unreadable(frame: bytes) -> None:
    for codec in (codec_for("json"), codec_for("msgpack")):
        try:
            objects = codec.decode(frame)
        except UnreadableFrame:
            continue
        assert all(isinstance(item, dict) for item in objects)
