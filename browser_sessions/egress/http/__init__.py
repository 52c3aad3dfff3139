"""HTTP/1 as a proxy needs it: heads, the extent of bodies, and responses of the proxy's own. Pure."""
