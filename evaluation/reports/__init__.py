"""What people look at: pages, tables, pictures, and how figures are written in them."""
