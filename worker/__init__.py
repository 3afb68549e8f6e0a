"""fleetcopy's worker: moves S3 objects from a source endpoint to a destination endpoint, task by task.

Four layers, imported downwards only (`tests/test_layers.py` holds them to it):

* `worker.__main__`, `worker.commands`, `worker.config`: commands and settings; they wire the rest together.
* `worker.flow`: the few loops and threads; decides what happens next.
* `worker.aws`: one thin module per service; turns foreign errors into ours.
* `worker.core`: pure values and decisions; no network, clock, threads or environment.
"""
