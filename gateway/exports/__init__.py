"""Taking data out: stored rows as lines of files, JSONL and CSV. Pure: nothing is fetched or sent here."""
