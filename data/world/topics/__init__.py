"""The settings a post can have, one module each."""

from . import dating, family, friends, home, money, neighbors, pets, school, travel, work

TOPICS = tuple(module.TOPIC for module in (work, home, family, dating, neighbors, school, money, travel, pets, friends))
