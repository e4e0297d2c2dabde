"""The modules that come with ModNet, one file each: docstring with an example, settings, class."""
