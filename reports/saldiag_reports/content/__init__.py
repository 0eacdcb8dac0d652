"""What a report says, independent of its format: sections, tables, wording, pictures."""
