"""Converting models between folders and single files, a part of a tensor at a time, with numpy alone."""
