"""The probes under their public name: ``from saldiag.probes import GradientNorms``."""

from __future__ import annotations
