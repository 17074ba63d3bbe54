"""Results as tables, figures, a report and a page of tracks; nothing is measured here."""
