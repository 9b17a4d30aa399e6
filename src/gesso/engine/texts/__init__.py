"""What a person wrote and what each picture reads: styles, wildcards and choices, before the prompt language.

| module | does |
|---|---|
| `lists` | files of names and texts: text, YAML, JSON, read again when they change |
| `wildcards` | `__name__`: lists of values |
| `styles` | texts that go round a prompt |
| `wording` | from a request to the texts of each of its pictures |
"""
