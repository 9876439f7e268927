"""memsvc: a streaming memory service in which every tenant owns a Titans memory."""
