"""YAML presets."""
