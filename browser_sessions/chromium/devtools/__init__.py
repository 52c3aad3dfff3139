"""Chromium's DevTools front end and its description of the protocol, kept on disk for one version of Chromium.

Only Chromium's debugging port gives these files, and sessions' browsers have no port. So a browser without sessions is
started once for each version (`crawl`), and what it gives is kept in one file (`cache`).
"""
