"""Real Keras programs, each with one fault seeded, its fixed twin, and healthy programs.

``faults/`` holds one file a fault: ``EXPECT`` is the code that must come first (a tuple where one
fault has several names), ``FORMS`` the forms of model that it exists in; ``broken(form, seed)``
and ``fixed(form, seed)`` make the program. ``healthy/`` holds programs that nothing may be said of:
each file lists ``PROGRAMS``, functions of a seed. ``saldiag selftest`` runs everything.
"""
