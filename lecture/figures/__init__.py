"""One module per figure of the lecture, named after the figure."""
