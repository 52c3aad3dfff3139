"""Around the endpoints: host check, proxy headers, body limit, request log, spans, client disconnects."""
