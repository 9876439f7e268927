"""Every published figure: one module, one command, peers side by side."""
