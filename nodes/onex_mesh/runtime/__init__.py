"""What the four nodes share: server lifecycle, errors, payloads, templates, health, settings and telemetry."""
