"""The HTTP and WebSocket API: the FastAPI application, its models and errors."""
