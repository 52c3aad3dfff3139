"""What runs around the endpoints: host check, proxy headers, limits, request log, spans, callers who leave."""
