"""From a demand to fabrics: candidates, their measures, the front, how they grow and stand in a room."""
