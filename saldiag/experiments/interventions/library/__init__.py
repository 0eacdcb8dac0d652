"""The interventions: every concrete subclass of ``Intervention`` in this folder is registered."""
