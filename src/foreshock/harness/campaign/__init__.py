"""Campaigns: many tests from one file, in parallel, resumable, with their failures grouped."""
