"""From a prompt and what was recalled to tokens: OpenAI-compatible servers, Hugging Face models, our own."""
