"""A strategy for arbitrary session records, for property tests."""

from __future__ import annotations

from datetime import UTC, datetime

from hypothesis import strategies as st

from browser_sessions.domain.session import EndReason, SessionRecord, SessionStatus, new_session_id
from browser_sessions.domain.session_spec import Isolation

text = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
printable = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=8)
"""Text that the API accepts as metadata: no control characters."""
moments = st.datetimes(datetime(1970, 1, 2), datetime(9999, 12, 30), timezones=st.just(UTC))  # noqa: DTZ001 - `timezones` adds it
seconds = st.none() | st.floats(min_value=0, max_value=1e9)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3),
    max_leaves=8,
)

any_record = st.builds(
    SessionRecord,
    session_id=st.builds(new_session_id),
    owner=text,
    owner_name=text,
    node=text,
    status=st.sampled_from(SessionStatus),
    viewport_width=st.integers(1, 8192),
    viewport_height=st.integers(1, 8192),
    user_agent=st.none() | text,
    isolation=st.sampled_from(Isolation),
    created_at=moments,
    last_activity=moments,
    expires_at=st.none() | moments,
    ended_at=st.none() | moments,
    end_reason=st.none() | st.sampled_from(EndReason),
    idle_timeout_seconds=seconds,
    max_lifetime_seconds=seconds,
    metadata=st.dictionaries(text, text, max_size=4),
    options=st.dictionaries(text, json_values, max_size=4),
    idempotency_key=st.none() | st.builds(new_session_id),
    body_sha256=st.none() | text,
    version=st.integers(0, 2**31),
    traffic=st.none() | st.dictionaries(text, json_values, max_size=4),
)
