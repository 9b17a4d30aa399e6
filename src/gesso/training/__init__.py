"""Teaching models something new: data, objectives and loops. Pictures are made without any of it."""
