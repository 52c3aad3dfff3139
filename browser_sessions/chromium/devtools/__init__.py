"""Chromium's DevTools front end and its protocol description, cached on disk for one version of Chromium.

Only Chromium's debugging port serves these files, and the browsers of sessions have none. So `crawl` starts a browser
without sessions once per version, and `cache` keeps its files in one archive.
"""
