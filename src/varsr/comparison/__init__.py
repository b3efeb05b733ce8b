"""Images beside each other: a page to look at them in a browser, a contact sheet, a heat map of what differs."""
