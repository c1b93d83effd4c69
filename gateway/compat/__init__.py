"""One file a vendor: its payloads to our records and back. No HTTP, no SQL; `registry` lists them."""
