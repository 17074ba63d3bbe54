"""What came of it, laid out: tables, figures, report, the page of songs; nothing is measured."""
