"""Music: pieces as the keys of a piano that sound at each step, from piano rolls and MIDI files, and back to MIDI."""
