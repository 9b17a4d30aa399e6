"""Where guidance acts and what is made of it: an interval of the steps, rescaling, dynamic thresholding."""
