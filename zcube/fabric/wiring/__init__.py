"""How a fabric is cabled: port names, cable schedules, interchange formats, and checking what was found in the field."""
