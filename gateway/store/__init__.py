"""Tables, migrations, the batch writer and the queries: the only package that knows SQL."""
