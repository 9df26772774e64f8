"""The same filters in another language, where the meaning can be kept; and where not, why."""
