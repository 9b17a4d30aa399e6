"""Values every layer shares: requests, recipes, events, settings, errors. No torch here."""
