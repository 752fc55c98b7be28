"""`forebay simulate`: a fleet in virtual time, its figures as JSON, tables and plots."""
