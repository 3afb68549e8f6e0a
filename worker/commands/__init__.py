"""One module a command: what it offers on the command line, how it wires objects together, what it prints."""
