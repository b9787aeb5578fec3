"""What the browser package costs, beside others that keep an app's state in the browser: docs/browser.md has the table."""
