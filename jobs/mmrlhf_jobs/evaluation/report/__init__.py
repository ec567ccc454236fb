"""All that was measured of some models side by side: figures and one page, no torch."""
