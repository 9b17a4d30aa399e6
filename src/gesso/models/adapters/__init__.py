"""Adapters: small files that change what a network does. Read in every published layout into one form."""
