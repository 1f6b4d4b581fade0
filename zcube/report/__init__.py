"""What a comparison looks like: terminal tables, pictures, a one-file page, an output folder. Nothing is simulated here."""
