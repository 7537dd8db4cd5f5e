"""Documents of what is answered again from one plan: what if, and the map of where splitting pays."""
