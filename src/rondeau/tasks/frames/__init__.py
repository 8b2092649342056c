"""What is heard when: a label for each frame of a recording, such as whether somebody speaks."""
