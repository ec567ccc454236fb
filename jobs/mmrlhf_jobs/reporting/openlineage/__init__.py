"""OpenLineage: each attempt of a run as events for a catalogue of data, if one is named."""
