"""What classifying texts is made of; `rondeau.tasks.texts.task` puts it together."""
