"""The heart: networks as hosted components.

A pipeline runs on a thread of its own and calls its networks as if they were plain modules. Each of them is hosted:
a call blocks until the one worker of its device has run it, alone or merged with calls that agree.
"""
