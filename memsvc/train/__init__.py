"""Training of the shipped titans-mac models (`memsvc-train`), and the needle test that they are trained for."""
