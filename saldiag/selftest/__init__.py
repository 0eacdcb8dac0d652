"""Keras programs with one seeded fault each, their fixed twins, and healthy programs.

``faults/`` contains one file per fault: ``EXPECT`` is the code of the rule that must be the root
cause (a tuple if several rules may be), ``FORMS`` the kinds of model that exist with this fault;
``broken(form, seed)`` and ``fixed(form, seed)`` build the program. ``healthy/`` contains programs
without faults, in which no rule may report an error: each file lists ``PROGRAMS``, functions of a
seed. ``saldiag selftest`` runs them all.
"""
