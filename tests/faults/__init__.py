"""One file a rule: ``broken()`` raises it as the root cause, ``fixed()`` raises nothing at all.

``ROOT = False`` where a rule's finding is by its nature not the root cause, with the reason.
"""
