"""One file per outside thing; only the composition root names them, and they do not know each other."""
