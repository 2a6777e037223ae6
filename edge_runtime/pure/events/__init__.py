"""The shapes of event payloads, as handlers know them from AWS."""
