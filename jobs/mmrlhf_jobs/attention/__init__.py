"""How the parts of a shared-prefix row attend to each other."""
