"""What a copied object costs, side by side with rclone: `python -m tests.bench`, or `make bench`.

Both tools stream the same seeded objects from one S3 endpoint to another over TLS, with proofs on, client and
server on a core of their own, by turns; after each run every object at the destination is compared byte by
byte. `server` is the S3 that they meet, `workloads` what is copied, `tools` how each tool is told to,
`measure` runs one process tree and weighs it, `report` prints, draws and keeps the figures.

A good part of the cost is TLS, and so Python's OpenSSL, whose version is told; `LD_LIBRARY_PATH` may name the
folder of another.

s5cmd and the AWS CLI are not here: between two buckets they know only the server-side copy, which reaches no
second endpoint.
"""
