"""How often advice is right: networks built to have a fault, and healthy ones, all drawn at random."""
