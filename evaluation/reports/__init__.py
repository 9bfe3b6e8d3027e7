"""Output for people: pages, tables, pictures, and how figures are formatted in them."""
