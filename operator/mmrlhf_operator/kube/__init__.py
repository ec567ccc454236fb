"""The API server as seen from here: requests, transport, lease, timestamps."""
