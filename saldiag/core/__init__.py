"""The ground floor: plain data that every other room speaks. Standard library and numpy only."""
