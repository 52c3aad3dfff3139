"""Commands about the service of this machine: serve, drain, doctor."""
