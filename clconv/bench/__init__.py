"""``clconv bench``: convolution layers of known networks, timed here and in the libraries that a user would pick instead.

One way through: :mod:`workloads` (which layers) and :mod:`peers` (which libraries) go into :mod:`timing`, which asks one
:mod:`worker` process per library for numbers; :mod:`results` keeps them, :mod:`summary` judges them, and :mod:`table`,
:mod:`picture` and :mod:`readme` show them. :mod:`machine` measures what the device can do, :mod:`roofline` what that means
for a layer.
"""
