"""The JSON models of the API, shared by the server and the client SDK: a module a noun."""
