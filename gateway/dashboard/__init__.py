"""The dashboard at /ui: pages made on the server, for people. No SQL, and nothing for programs to call."""
