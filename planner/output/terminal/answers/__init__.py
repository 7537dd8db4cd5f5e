"""Views of what is answered again from one plan: by rate, what if, and the map of where splitting pays."""
