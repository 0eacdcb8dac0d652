"""The house of judgement: one file a rule, pure functions of plain numbers."""
