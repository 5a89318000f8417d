"""One module per outside system; whatever needs an extra is imported where it is used."""
