"""The same arms on an accelerator, with models of their real sizes."""
