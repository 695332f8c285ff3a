"""Pure generators: values that say which operation comes next."""
