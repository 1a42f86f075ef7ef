"""Gnomon's stores behind Feast's plugin interface; imported by Feast, in an environment that has Feast."""
