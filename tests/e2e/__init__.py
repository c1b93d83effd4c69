"""The dashboard in a real browser: Debian's Chromium, driven by Playwright. Without one these tests skip."""
