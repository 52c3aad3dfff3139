"""Starts Chromium on a pair of pipes: its switches, its environment, its user, its folders."""
