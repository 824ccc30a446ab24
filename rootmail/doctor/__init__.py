"""Look at the whole installation and say what to do. `areas` lists what is looked at; each check stands alone."""
