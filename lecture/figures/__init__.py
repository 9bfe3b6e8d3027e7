"""One module for each figure of the lecture, called like the figure."""
