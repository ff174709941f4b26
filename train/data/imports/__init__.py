"""Label maps as annotation tools write them, made own data: a file for each layout."""
