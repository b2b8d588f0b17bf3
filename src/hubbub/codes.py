"""Close codes and error codes, generated from protocol/codes.json by protocol/generate_codes.py."""

from typing import Final

NORMAL: Final = 1000
"""done; the client should: stop."""
GOING_AWAY: Final = 1001
"""the page is gone; the client should: stop."""
PROTOCOL_ERROR: Final = 1002
"""the WebSocket protocol was violated; the client should: reconnect with backoff."""
UNSUPPORTED_DATA: Final = 1003
"""wrong kind of frame; the client should: do not repeat that."""
INVALID_DATA: Final = 1007
"""not UTF-8, or not deflate; the client should: do not repeat that."""
POLICY_VIOLATION: Final = 1008
"""a limit was abused; the reason names it; the client should: back off."""
MESSAGE_TOO_BIG: Final = 1009
"""a message was too big; the client should: do not repeat that."""
INTERNAL_ERROR: Final = 1011
"""the server is at fault; the client should: reconnect with backoff."""
SERVICE_RESTART: Final = 1012
"""restart or deploy; the reason carries after=<ms>; the client should: reconnect after that."""
TRY_AGAIN_LATER: Final = 1013
"""overloaded; the client should: reconnect with long backoff."""
MALFORMED: Final = 4400
"""too many malformed messages; the client should: stop."""
UNAUTHENTICATED: Final = 4401
"""the token expired or was revoked; the client should: get a new token, then reconnect."""
REMOVED: Final = 4403
"""removed by an operator or by policy; the client should: stop."""
TOO_SLOW: Final = 4408
"""too slow to authenticate or to drain; the client should: reconnect."""
REPLACED: Final = 4409
"""replaced by a newer connection of this session; the client should: stop."""

INVALID_JSON: Final = "invalid_json"
"""not JSON, or not a JSON object."""
UNKNOWN_TYPE: Final = "unknown_type"
"""no command has this type."""
INVALID_MESSAGE: Final = "invalid_message"
"""a field is missing, of the wrong type or too long."""
INVALID_JOIN: Final = "invalid_join"
"""a join without a room or a username."""
INVALID_NAME: Final = "invalid_name"
"""a room or username has characters that names must not have."""
NOT_IN_ROOM: Final = "not_in_room"
"""the connection is in no such room."""
TOO_MANY_ROOMS: Final = "too_many_rooms"
"""the connection is in as many rooms as it may be."""
MESSAGE_ID_CONFLICT: Final = "message_id_conflict"
"""the messageId was used for another message."""
FORBIDDEN: Final = "forbidden"
"""it is not allowed, or there is no such room."""
INVALID_TOKEN: Final = "invalid_token"
"""the credentials do not count, or are another user's."""
TOKEN_EXPIRES: Final = "token_expires"
"""the credentials end after retryAfter milliseconds: refresh them."""
UNAVAILABLE: Final = "unavailable"
"""the log cannot be read or written now; try again after retryAfter milliseconds."""
RATE_LIMITED: Final = "rate_limited"
"""too many messages; try again after retryAfter milliseconds."""
CLOSED: Final = "closed"
"""the connection has ended meanwhile."""
INTERNAL: Final = "internal"
"""the server failed; correlationId finds it in the server's log."""
