"""Fetching models that somebody asked for, from the Hugging Face hub, from CivitAI, or from a link."""
