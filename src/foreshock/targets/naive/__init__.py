"""The naive targets: what tutorials teach, as real networked nodes. Foreshock must convict all of them."""
