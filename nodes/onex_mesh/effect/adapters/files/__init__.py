"""Files below a folder, and logs of events: atomic writes, appends that happen once."""
