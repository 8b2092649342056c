"""What classifying texts is made of; `rondeau.tasks.text_classification` puts it together."""
