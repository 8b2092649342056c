"""Readers of tables: columns of time stamps, numbers and categories; rows one after another."""
